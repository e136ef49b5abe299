package event

// Kinds returns one empty value of every kind of data, for descriptions.
func Kinds() []Data {
	return []Data{
		AgentStarted{},
		AgentStopping{},
		Applied{},
		AppState{},
		WorkerState{},
		WorkerExit{},
		WorkerHealth{},
		WorkerStatus{},
		WorkerNode{},
		WorkerMessage{},
		Reload{},
		Warning{},
		Order{},
	}
}
