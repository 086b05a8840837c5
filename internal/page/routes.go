package page

// routes has all pages.
func (s *server) routes() {
	s.handle("GET /{$}", s.now)
	s.handle("/", s.missing)
}
