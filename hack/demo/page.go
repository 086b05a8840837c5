package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// rome is a group that is full, so that a plan waits on the page.
const rome = "club-rome"

// look starts the page of maria.
func look(ctx context.Context, n *narrator, s *stage) {
	n.begin("The same in a browser, for people who look rather than read")
	_, spec := lab.DemoGroups()
	spec.ID = rome
	_, err := s.backend.CreateGroup(ctx, spec)
	n.check(err)
	n.say("Another club is full, so that there is something to decide:\n")
	n.apply(ctx, s, rome, "nina", "the group is full")
	s.runOf(ctx, rome, "AwaitingApproval")
	n.say("\nmaria has a kubeconfig with a token of her own, may read, and decide about runs:")
	for _, role := range []string{"groupgate-prune-approver", "groupgate-policy-viewer"} {
		n.kubectl(ctx, "create", "rolebinding", "maria-"+role, "-n", "chat",
			"--clusterrole="+role, "--serviceaccount=chat:maria")
	}
	if n.err != nil {
		return
	}
	s.maria, err = s.AccountKubeconfig(ctx, "chat", "maria")
	n.check(err)
	if n.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s.page, err = lab.StartPage(ctx, s.log, s.Binary, s.maria,
		append(lab.ReplicaFlags(s.dir, s.manager), "--namespace=chat")...)
	n.check(err)
	if n.err != nil {
		return
	}
	n.say("\nShe would type `kubectl groupgate page -n chat`, which opens her page:\n\n   %s\n", s.page.URL)
	const waits = "1 plan waits for approval."
	shown, err := shows(ctx, s.page.URL, waits)
	n.check(err)
	n.expect(fmt.Sprintf("the page says %q", waits), fmt.Sprint(shown), "true")
}

// shows reports whether a page says some words.
func shows(ctx context.Context, url, words string) (bool, error) {
	jar, err := cookiejar.New(nil) // for the key in the URL
	if err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false, err
	}
	answer, err := (&http.Client{Jar: jar}).Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	html, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the page answers with %s: %s", answer.Status, html)
	}
	return strings.Contains(string(html), words), err
}
