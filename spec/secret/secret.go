// Package secret masks what must not be shown: values of variables, arguments and
// texts that look like secrets.
package secret

import (
	"regexp"
	"strings"
)

// Mask stands in place of a secret.
const Mask = "******"

var (
	nameWords   = regexp.MustCompile(`[A-Z]+[a-z]*|[a-z]+`)
	urlUser     = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@'"]*):([^\s/?#'"]*)@`)
	urlToken    = regexp.MustCompile(`(https?://)([^\s/?#:@'"]+)@`)
	dsnUser     = regexp.MustCompile(`\b([\w.-]+):([^\s'"]+)@(tcp|unix)\(`)
	nameValue   = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.-]*)(=|%3[dD])("[^"]*"|'[^']*'|[^\s&;,'"]+)`)
	headerValue = regexp.MustCompile(`(?i)\b(authorization|cookie|set-cookie|x-[a-z-]*(?:key|token|auth|secret))(\s*:\s*)([^'"\r\n]+)`)
	bearer      = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)([A-Za-z0-9._~+/=-]{8,})`)
	privateKey  = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	flagName    = regexp.MustCompile(`^--?([A-Za-z][A-Za-z0-9_.-]*)$`)
)

// IsName says whether a name (of a variable, a flag, a parameter) is that
// of a secret: one of its words is pass, password, secret, token, key,
// credential, auth, cookie, dsn, private or close to them. KEYBOARD is not.
func IsName(name string) bool {
	words := splitName(name)
	for _, w := range words {
		if isSecretWord(w) && !(w == "pwd" && len(words) == 1) {
			return true
		}
	}
	return false
}

// splitName cuts at everything but letters and where a capital follows a small
// letter: "DB_Password2", "dbPassword" and "db-password" are db, password.
func splitName(name string) (words []string) {
	for _, w := range nameWords.FindAllString(name, -1) {
		words = append(words, strings.ToLower(w))
	}
	return words
}

func isSecretWord(w string) bool {
	for _, part := range []string{"password", "passwd", "passphrase", "secret", "credential", "authtoken", "apitoken"} {
		if strings.Contains(w, part) {
			return true
		}
	}
	switch strings.TrimSuffix(w, "s") {
	case "pas", "pwd", "token", "key", "cred", "auth", "cookie", "dsn", "private",
		"accesstoken", "refreshtoken", "sessiontoken", "apikey", "accesskey", "privatekey", "authkey",
		"signingkey", "encryptionkey", "masterkey", "sessionkey", "sshkey":
		return true
	}
	return w == "pw"
}

// Env returns the value of a variable as it may be shown: Mask for a secret
// name, else what Text gives. An empty value stays empty.
func Env(name, value string) string {
	if value != "" && IsName(name) {
		return Mask
	}
	return Text(value)
}

// Text returns a text (an argument, a URL, a shell script) as it may be
// shown: without passwords in URLs, values of NAME=value and --NAME=value with a
// secret name, Authorization and cookie headers, and private keys.
func Text(text string) string {
	if strings.ContainsAny(text, "@=:-% ") {
		text = privateKey.ReplaceAllString(text, Mask)
		text = headerValue.ReplaceAllString(text, "${1}${2}"+Mask)
		text = bearer.ReplaceAllString(text, "${1}${2}"+Mask)
		text = urlUser.ReplaceAllString(text, "${1}:"+Mask+"@")
		text = urlToken.ReplaceAllString(text, "${1}"+Mask+"@")
		text = dsnUser.ReplaceAllString(text, "${1}:"+Mask+"@${3}(")
		text = nameValue.ReplaceAllStringFunc(text, func(s string) string {
			m := nameValue.FindStringSubmatch(s)
			if IsName(m[1]) {
				return m[1] + m[2] + Mask
			}
			// The value may hold a pair of its own: --env=PASSWORD=x.
			return m[1] + m[2] + maskPair(m[3])
		})
	}
	return text
}

func maskPair(value string) string {
	m := nameValue.FindStringSubmatch(value)
	if m != nil && IsName(m[1]) {
		return strings.Replace(value, m[0], m[1]+m[2]+Mask, 1)
	}
	return value
}

// Args masks an argument vector: each argument by Text, and the one
// that follows a flag with a secret name.
func Args(argv []string) []string {
	if argv == nil {
		return nil
	}
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = Text(arg)
		if i == 0 || strings.HasPrefix(arg, "-") {
			continue
		}
		if m := flagName.FindStringSubmatch(argv[i-1]); m != nil && IsName(m[1]) {
			out[i] = Mask
		}
	}
	return out
}
