package config

import (
	"slices"
	"strings"
)

// BaseEnviron drops what belongs to a terminal session or to muster itself, and
// sorts the rest by name, so that `up` from another terminal changes nothing.
// Of a name that stands twice the last value stays, as in a process.
func BaseEnviron(environ []string) []string {
	values := map[string]string{}
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		if ok && name != "" && !ofSession(name) {
			values[name] = value
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = name + "=" + values[name]
	}
	return names
}

func ofSession(name string) bool {
	for _, prefix := range sessionPrefixes() {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(sessionNames(), name)
}

func sessionPrefixes() []string {
	return []string{
		// A terminal and what runs in it.
		"TERM_", "SSH_", "TMUX", "VTE_", "KONSOLE_", "ITERM_", "KITTY_", "ALACRITTY_", "WEZTERM_", "GHOSTTY_", "VSCODE_",
		"XDG_SESSION_", "XDG_SEAT", "XDG_VTNR", "SUDO_", "BASH_FUNC_", "LC_TERMINAL",
		// How this process was started, by a supervisor or by muster.
		"LISTEN_", "WATCHDOG_", "SYSTEMD_", "CREDENTIALS_DIRECTORY", "MUSTER_", "NODE_CHANNEL_", "NODE_UNIQUE_ID", "NODE_APP_INSTANCE",
	}
}

func sessionNames() []string {
	return []string{
		"TERM", "TERMINFO", "TERMCAP", "TERMINAL", "COLORTERM", "COLORFGBG", "SHLVL", "PWD", "OLDPWD", "_", "WINDOWID", "WINDOWPATH",
		"COLUMNS", "LINES", "LS_COLORS", "LSCOLORS", "LESS", "LESSOPEN", "LESSCLOSE", "PAGER", "MANPAGER",
		"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "STY", "WINDOW", "PS1", "PS2", "PROMPT", "PROMPT_COMMAND", "HISTFILE", "HISTSIZE",
		"GPG_TTY", "GPG_AGENT_INFO", "DESKTOP_STARTUP_ID", "SESSION_MANAGER", "MAIL", "FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE",
		"NOTIFY_SOCKET", "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "MANAGERPIDFDID", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
	}
}

func environMap(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			m[name] = value
		}
	}
	return m
}
