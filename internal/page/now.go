package page

import "net/http"

// now is the page that says whether the gate is closed.
func (s *server) now(*visit) (*view, error) {
	return &view{template: "now.html", title: "Now"}, nil
}

// missing answers for a path that no page has.
func (s *server) missing(*visit) (*view, error) {
	return nil, &Refusal{
		Status: http.StatusNotFound, Text: "There is no such page.", Advice: "Begin with one of those above.",
	}
}
