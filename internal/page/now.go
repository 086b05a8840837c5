package page

// now is the page that says whether the gate is closed.
func (s *server) now(*visit) (*view, error) {
	return &view{template: "now.html", title: "Now"}, nil
}
