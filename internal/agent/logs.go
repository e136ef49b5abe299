package agent

import "errors"

// reopenLogs opens the log files anew, after an external rotation.
func (a *Agent) reopenLogs() error {
	var errs []error
	for _, app := range a.supervisor.Spec().Apps {
		if log := a.supervisor.Log(app.Name); log != nil {
			errs = append(errs, log.Reopen())
		}
	}
	return errors.Join(errs...)
}
