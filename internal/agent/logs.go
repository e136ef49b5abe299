package agent

// reopenLogs opens the log files anew, after an external rotation.
func (a *Agent) reopenLogs() error {
	for _, app := range a.supervisor.Spec().Apps {
		if log := a.supervisor.Log(app.Name); log != nil {
			log.Reopen()
		}
	}
	return nil
}
