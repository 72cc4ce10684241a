package log

import "context"

func (d *Dir) compactDue(context.Context) error { return nil }
