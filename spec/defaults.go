package spec

import "time"

// OnExitTimeout bounds each command of Spec.OnExit.
const OnExitTimeout = 10 * time.Second

// MaxWorkers is the largest pool.
const MaxWorkers = 1024

// DefaultApp is an app with every default of the product filled in.
func DefaultApp(name string) App {
	return App{
		Name:    name,
		Type:    Service,
		Role:    RoleWeb,
		Workers: 1,
		Ready: Ready{
			Mode: ReadyAuto, For: Duration(time.Second), Timeout: Duration(60 * time.Second),
		},
		Restart: Restart{
			Policy: RestartAlways,
			Delay:  Duration(100 * time.Millisecond), Factor: 2,
			MaxDelay: Duration(30 * time.Second), Jitter: 0.2,
			MinUptime: Duration(time.Second), ResetAfter: Duration(30 * time.Second),
			Limit: 10, Window: Duration(60 * time.Second),
		},
		Stop:   Stop{Timeout: Duration(30 * time.Second)},
		Reload: Reload{Batch: 1, Surge: SurgeAuto},
		Log:    DefaultLog(),
	}
}

// DefaultHealth is a health check with its times filled in and no target.
func DefaultHealth() Health {
	return Health{
		Interval: Duration(10 * time.Second), StartInterval: Duration(time.Second),
		Timeout: Duration(time.Second), Failures: 3,
	}
}

// DefaultLog is the default treatment of output.
func DefaultLog() Log {
	return Log{
		Target: LogFile, Format: "json", Show: true,
		LineMax: 64 << 10, MaxSize: 50e6, MaxFiles: 10, Lines: 1000,
	}
}
