package page

// routes has all pages.
func (s *server) routes() {
	s.handle("GET /{$}", s.now)
	s.handle("GET /waiting", s.waiting)
	s.handle("GET /runs", s.runs)
	s.handle("GET /runs/{namespace}/{name}", s.run)
	s.handle("GET /runs/{namespace}/{name}/{verb}", s.undecided)
	s.handle("POST /runs/{namespace}/{name}/{verb}", s.decide)

	s.handle("GET /group", s.aboutGroup)
	s.handle("GET /ask", s.question)
	s.handle("GET /refused", s.latestRefusals)
	s.handle("GET /settings", s.settings)
	s.handle("POST /settings", s.saveSettings)
	s.handle("/", s.missing)
}
