package notifier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/wneessen/go-mail"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// The bodies of what others receive as a web hook. Discord takes 2,000 characters.
const (
	slackBody   = `{"text":"{{text}}"}`
	discordBody = `{"content":"{{text}}","allowed_mentions":{"parse":[]}}`
	teamsBody   = `{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":` +
		`{"type":"AdaptiveCard","version":"1.2","body":[{"type":"TextBlock","weight":"bolder","text":"{{title}}"},` +
		`{"type":"TextBlock","wrap":true,"text":"{{text}}"}]}}]}`
	discordMax = 1900
	// saidMax is how much of a refusal is told, in bytes.
	saidMax = 200
)

// try delivers once, within the notifier's timeout.
func (n *Notifiers) try(ctx context.Context, l *line, note Note) error {
	bounded, cancel := context.WithTimeout(ctx, l.Timeout.D())
	defer cancel()
	err := n.send(bounded, l, note)
	if err == nil || bounded.Err() == nil || ctx.Err() != nil {
		return err
	}
	if l.Type == spec.NotifyCommand { // another try would take as long
		return fmt.Errorf("the command was killed: it had not ended within %s", l.Timeout.D())
	}
	return retry{fmt.Errorf("no answer within %s", l.Timeout.D())}
}

func (n *Notifiers) send(ctx context.Context, l *line, note Note) error {
	switch l.Type {
	case spec.NotifyCommand:
		return n.command(ctx, l, note)
	case spec.NotifyEmail:
		return email(ctx, l, note)
	case spec.NotifyWebhook, spec.NotifySlack, spec.NotifyDiscord, spec.NotifyTeams, spec.NotifyNtfy:
		return post(ctx, l, note)
	}
	return fmt.Errorf("%q is no kind of notifier", l.Type)
}

// body is what is posted, and its type.
func body(l *line, note Note) (text, media string, err error) {
	template := ""
	switch l.Type {
	case spec.NotifySlack:
		template = slackBody
	case spec.NotifyDiscord:
		template = discordBody
		note.Stack, note.Output = cut(note.Stack, discordMax/3), cut(note.Output, discordMax/3)
		note.Error = cut(note.Error, discordMax/6)
	case spec.NotifyTeams:
		template = teamsBody
	case spec.NotifyNtfy:
		return note.Text(), "text/plain; charset=utf-8", nil
	case spec.NotifyWebhook, spec.NotifyEmail, spec.NotifyCommand:
		template = l.Template
	}
	if template == "" {
		whole, err := json.Marshal(note)
		return string(whole), "application/json", err
	}
	return note.fill(template), "application/json", nil
}

func post(ctx context.Context, l *line, note Note) error {
	text, media, err := body(l, note)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, strings.NewReader(text))
	if err != nil {
		return errors.New("the URL cannot be used") // the error has it, with its secrets
	}
	req.Header.Set("Content-Type", media)
	req.Header.Set("User-Agent", "muster")
	if l.Type == spec.NotifyNtfy {
		req.Header.Set("Title", oneLine(note.Title()))
		if note.Event == Crash || note.Event == GaveUp {
			req.Header.Set("Priority", "high")
		}
	}
	for name, value := range l.Headers {
		req.Header.Set(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	answer, err := client.Do(req)
	if err != nil {
		return retry{withoutURL(err)}
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 4*saidMax)) // only to tell it
	switch {
	case answer.StatusCode/100 == 2:
		return nil
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode/100 == 5:
		return retry{refused(l, answer.Status, said)}
	}
	return refused(l, answer.Status, said)
}

// refused is an answer that says no. What of it is a secret of ours is not repeated.
func refused(l *line, status string, said []byte) error {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(said), "")), " ")
	for _, hidden := range secrets(l) {
		text = strings.ReplaceAll(text, hidden, "******")
	}
	if text == "" {
		return fmt.Errorf("the answer is %s", status)
	}
	return fmt.Errorf("the answer is %s: %q", status, cut(text, saidMax))
}

// secretMin is how long a part of a URL is that may be a secret, in bytes.
const secretMin = 6

// secrets are the parts of a notifier's URL and headers that nobody is to read, the
// longest first.
func secrets(l *line) (list []string) {
	add := func(text string, split string) {
		for _, part := range append(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(split, r) }), text) {
			if len(part) >= secretMin {
				list = append(list, part)
			}
		}
	}
	if u, err := url.Parse(l.URL); err == nil {
		add(u.Path, "/")
		add(u.RawQuery, "&=")
		if password, ok := u.User.Password(); ok {
			list = append(list, password)
		}
	}
	for _, value := range l.Headers {
		add(value, " ")
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(list, func(text string) bool { return text == "" })
}

// withoutURL is an error of net/http without the URL, whose path may be a secret.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// command gives the note on standard input and in the environment.
func (n *Notifiers) command(ctx context.Context, l *line, note Note) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	go func() { // ends with the pipe's other end
		defer write.Close()
		_, _ = io.Copy(write, bytes.NewReader(append(text, '\n')))
	}()
	env := slices.Clone(n.opts.Environ)
	for name, value := range note.facts() {
		env = append(env, "MUSTER_"+strings.ToUpper(name)+"="+strings.ReplaceAll(value, "\x00", ""))
	}
	result, err := process.Run(ctx, process.Command{ID: "notify", Argv: l.Command, Env: env, Dir: n.opts.Dir, Stdin: read})
	switch {
	case err != nil:
		return err
	case result.Exit.Signal != 0:
		return fmt.Errorf("the command was ended by %s", unix.SignalName(result.Exit.Signal))
	case result.Exit.Code != 0:
		text := fmt.Sprintf("the command ended with code %d", result.Exit.Code)
		if lines := result.LastLines(3); lines != nil {
			text += ": " + strings.Join(lines, " | ")
		}
		return errors.New(text)
	}
	return nil
}

// email sends plain text, over TLS unless the server is on this host.
func email(ctx context.Context, l *line, note Note) error {
	m := mail.NewMsg()
	if err := errors.Join(m.From(l.From), m.To(l.To...)); err != nil {
		return err
	}
	m.Subject(oneLine(note.Title()))
	m.SetBodyString(mail.TypeTextPlain, note.Text())
	host, port, err := net.SplitHostPort(l.Server)
	if err != nil {
		return err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(l.Timeout.D())}
	switch {
	case number == 465:
		options = append(options, mail.WithSSL())
	case loopback(host):
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if l.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(l.User), mail.WithPassword(l.Password))
	}
	client, err := mail.NewClient(host, options...)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, m); err != nil {
		return retry{err}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
