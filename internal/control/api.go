package control

import (
	"context"
	"net/http"
	"reflect"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

// Access is what a route needs. At present whoever may use the API at all may
// do all three; the table already says which is which.
type Access string

// The kinds of access.
const (
	Read    Access = "read"    // looks, changes nothing
	Operate Access = "operate" // changes what runs, or shows secrets
	Admin   Access = "admin"   // ends the agent itself
)

// Route is one line of the API.
type Route struct {
	Method, Path string
	Access       Access
	// Text says in one line what it does.
	Text  string
	Query []Param

	action
}

// Param is one query parameter.
type Param struct {
	Name, Text string
	// Type is "string", "integer" or "boolean".
	Type string
	// Required ones have no default.
	Required bool
}

// action is what a route runs, and the types it reads and answers.
type action struct {
	in, out reflect.Type // nil: none
	// media is the content type of the answer; out is one item of a stream.
	media string
	run   func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// Routes is the API: every route there is.
func Routes() []Route {
	return []Route{
		{"GET", "/v1/status", Read, "State of the agent, its apps and their workers.", nil, ask((*Server).status)},

		{"GET", "/v1/spec", Read, "What the agent runs at present, secrets masked.", specParams(), ask((*Server).spec)},
		{"POST", "/v1/diff", Read, "What applying a spec would change.", nil, call((*Server).diff)},
		{"POST", "/v1/apply", Operate, "Make a spec the one that runs; answers when all that it touches is ready or has failed.", nil, call((*Server).apply)},

		{"POST", "/v1/start", Operate, "Start what is stopped or failed; answers when it is ready.", nil, call((*Server).start)},
		{"POST", "/v1/stop", Operate, "Stop apps or workers; answers when nothing of them is left.", nil, call((*Server).stop)},
		{"POST", "/v1/restart", Operate, "Stop and start with the same release.", nil, call((*Server).restart)},
		{"POST", "/v1/reload", Operate, "Replace the workers by those of a new release, rolling, without losing a request.", nil, call((*Server).reload)},
		{"POST", "/v1/rollback", Operate, "Go back to the release that ran before, rolling.", nil, call((*Server).rollback)},
		{"POST", "/v1/scale", Operate, "Change the size of pools.", nil, call((*Server).scale)},
		{"POST", "/v1/signal", Operate, "Send a signal to workers.", nil, call((*Server).signal)},
		{"POST", "/v1/set-port", Operate, "Change a named port of apps, at once by a reload, or for the next start.", nil, call((*Server).setPort)},
		{"POST", "/v1/set-probe", Operate, "Change the interval of the health check of apps, at once.", nil, call((*Server).setProbe)},
		{"POST", "/v1/message", Operate, "Send a message to workers: process.on('message') in Node.js, a frame of the channel for others. One result for each worker.", nil, call((*Server).message)},
		{"POST", "/v1/request", Operate, "Ask workers or clients that take part in operations, and answer with what they reply.", nil, call((*Server).ask)},
		{"GET", "/v1/commands", Read, "The commands that processes offer to the console.", nil, ask((*Server).commands)},
		{"POST", "/v1/commands/run", Operate, "Run such a command in all that offer it.", nil, call((*Server).runCommand)},
		{"POST", "/v1/worker-console", Operate, "Open, or close, a console inside a worker.", nil, call((*Server).workerConsole)},
		{"GET", "/v1/join", Operate, "Take part in operations: the connection is upgraded to the frames of a channel.", joinParams(), page("application/octet-stream", (*Server).join)},
		{"POST", "/v1/notify-test", Operate, "Have notifiers deliver a test note; one result for each.", nil, call((*Server).notifyTest)},
		{"GET", "/v1/launch", Operate, "What it takes to run a command in an app's surroundings; holds secrets.", launchParams(), ask((*Server).launch)},

		{"GET", "/v1/logs", Read, "Output of workers, one record a line.", logParams(), stream[api.Record]("application/x-ndjson", (*Server).logs)},
		{"GET", "/v1/events", Read, "What happens, as server-sent events.", eventParams(), stream[event.Event]("text/event-stream", (*Server).events)},

		{"GET", "/v1/version", Read, "Who answers: version, pid, instance.", nil, ask((*Server).version)},
		{"GET", "/v1/openapi.json", Read, "This description, in OpenAPI 3.1.", nil, page("application/json", (*Server).openAPI)},
		{"GET", "/metrics", Read, "Metrics in the Prometheus text format.", nil, page("text/plain", (*Server).metrics)},
		{"GET", "/v1/session-key", Operate, "The key that control.listen asks for.", nil, ask((*Server).sessionKey)},
		{"POST", "/v1/reopen-logs", Operate, "Open the log files anew, after an external rotation.", nil, call((*Server).reopenLogs)},
		{"POST", "/v1/upgrade", Admin, "Replace the agent by one of another binary, no worker touched; answers when it is about to leave. status.upgrade of the next one says how it went.", nil, call((*Server).upgrade)},
		{"POST", "/v1/shutdown", Admin, "End the agent and all it runs; answers when everything has stopped.", nil, call((*Server).shutdown)},
	}
}

// ask is a route without a request body.
func ask[Out any](f func(*Server, *http.Request) (Out, error)) action {
	run := func(s *Server, w http.ResponseWriter, r *http.Request) error {
		out, err := f(s, r)
		if err != nil {
			return err
		}
		return s.write(w, out)
	}
	return action{out: reflect.TypeFor[Out](), media: mediaJSON, run: run}
}

// call is a route whose request body is an In.
func call[In, Out any](f func(*Server, context.Context, In) (Out, error)) action {
	run := func(s *Server, w http.ResponseWriter, r *http.Request) error {
		in, err := read[In](s, w, r)
		if err != nil {
			return err
		}
		out, err := f(s, r.Context(), in)
		if err != nil {
			return err
		}
		return s.write(w, out)
	}
	return action{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), media: mediaJSON, run: run}
}

// stream is a route whose answer is items without an end.
func stream[Item any](media string, run func(*Server, http.ResponseWriter, *http.Request) error) action {
	return action{out: reflect.TypeFor[Item](), media: media, run: run}
}

// page is a route whose answer is a text of its own.
func page(media string, run func(*Server, http.ResponseWriter, *http.Request) error) action {
	return action{media: media, run: run}
}
