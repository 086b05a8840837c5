package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	pageNamespace = "bench-page"
	// waitingRuns and finishedRuns are the runs behind the pages, each with pageMembers on its plan.
	waitingRuns, finishedRuns, pageMembers = 1_000, 100_000, 20
	// runsPerGroup of the finished ones are of the same group.
	runsPerGroup = 5
	// pageRequests is how often each page is read, and pagePace how soon one after the other: a viewer may read 20
	// pages a second.
	pageRequests = 100
	pagePace     = 60 * time.Millisecond
	// runsPerTransaction bounds a write to etcd, which takes 128 operations and 1.5 MB.
	runsPerTransaction = 100
)

// page measures the pages of runs in front of many of them: times, memory of the process, and calls to the API server.
func (b *bench) page(ctx context.Context) (err error) {
	if err := b.startPlane(ctx); err != nil {
		return err
	}
	if err := b.pageRuns(ctx); err != nil {
		return err
	}
	site, err := b.startPage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.process.Kill()) }()
	idle, err := memory(site.process.PID(), resident)
	if err != nil {
		return err
	}
	times := b.results.table(
		fmt.Sprintf("Pages in front of %d plans that wait and %d finished runs, %d members each; %d requests of each:",
			waitingRuns, finishedRuns, pageMembers, pageRequests),
		"page", "median, ms", "p99, ms", "worst, ms", "CPU of the page, ms", "CPU of the API server, ms",
		"calls to the API server", "HTML, KB")
	group := url.Values{"app": {pageNamespace + "/prod"}, "group": {"group-010000"}}
	for _, p := range []struct{ key, name, path string }{
		{"waiting", "Waiting, first of 20 pages", "/waiting"},
		{"waiting-last", "Waiting, last page", "/waiting?from=951"},
		{"run", "Run that waits, 20 members", "/runs/" + pageNamespace + "/waiting-000500"},
		{"run-ended", "Run that can be undone, 20 members", "/runs/" + pageNamespace + "/run-050000"},
		{"runs", "Runs, first page", "/runs"},
		{"runs-deep", "Runs, 21st page", ""},
		{"runs-group", "Runs of one group", "/runs?" + group.Encode()},
	} {
		if p.path == "" { // the API server forgets where a list was
			if p.path, err = site.follow(ctx, "/runs", 20); err != nil {
				return err
			}
		}
		if err := b.pageTimes(ctx, site, times, p.key, p.name, p.path); err != nil {
			return err
		}
	}
	after, err := memory(site.process.PID(), resident)
	if err != nil {
		return err
	}
	most, err := memory(site.process.PID(), peak)
	if err != nil {
		return err
	}
	b.results.add("page/rss-mib", most)
	b.results.table("Memory of groupgate page, in MiB:", "resident at first", "after all of these requests", "most").
		add(idle, after, most)
	return nil
}

// pageTimes adds a row to the table.
func (b *bench) pageTimes(ctx context.Context, site *pageProcess, times *table, key, name, path string) error {
	var size int
	took := newHistogram()
	tick := time.NewTicker(pagePace)
	defer tick.Stop()
	for range pageRequests / 10 { // the connections of the process, and caches
		<-tick.C
		if _, _, err := site.get(ctx, path); err != nil {
			return err
		}
	}
	before, err := b.pageUse(ctx, site)
	if err != nil {
		return err
	}
	for range pageRequests {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		begun := time.Now()
		_, body, err := site.get(ctx, path)
		if err != nil {
			return err
		}
		_ = took.RecordValue(time.Since(begun).Microseconds())
		size = len(body)
	}
	after, err := b.pageUse(ctx, site)
	if err != nil {
		return err
	}
	calls := (after.calls - before.calls) / pageRequests
	cpu := (after.page - before.page) / pageRequests
	apiCPU := (after.apiServer - before.apiServer) / pageRequests
	b.results.add("page/"+key+"/p50", quantile(took, 50))
	b.results.add("page/"+key+"/p99", quantile(took, 99))
	b.results.add("page/"+key+"/calls", calls)
	b.results.add("page/"+key+"/cpu-ms", cpu)
	b.results.add("page/"+key+"/apiserver-cpu-ms", apiCPU)
	times.add(name, quantile(took, 50), quantile(took, 99), quantile(took, 100), cpu, apiCPU, calls, float64(size)/1e3)
	b.say("%s: p50 %.1f ms, p99 %.1f ms, %.2f calls; load %s", name, quantile(took, 50), quantile(took, 99), calls,
		loadAverage())
	return nil
}

// pageUse is what pages have used so far.
type pageUse struct {
	// page and apiServer are CPU times, in milliseconds, and calls requests to the API server about runs and rights.
	page, apiServer, calls float64
}

func (b *bench) pageUse(ctx context.Context, site *pageProcess) (use pageUse, err error) {
	page, err := cpuTime(site.process.PID())
	if err != nil {
		return use, err
	}
	use.page = page.Seconds() * 1e3
	text, err := b.plane.api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return use, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	seconds, err := lab.SumMetric(string(text), apiServerCPU)
	if err != nil {
		return use, err
	}
	use.apiServer = seconds * 1e3
	for _, resource := range []string{"pruneruns", "selfsubjectaccessreviews", "imapps", "grouppolicies"} {
		// A kind of request that has not come yet has no metric.
		n, _ := lab.SumMetric(string(text), "apiserver_request_total", fmt.Sprintf("resource=%q", resource))
		use.calls += n
	}
	return use, nil
}

// pageProcess is a `groupgate page` on loopback, and a browser.
type pageProcess struct {
	process *lab.Process
	client  *http.Client
	base    *url.URL
}

// printedURL is the address that groupgate page prints.
var printedURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\?key=\S+`)

func (b *bench) startPage(ctx context.Context) (*pageProcess, error) {
	out, err := os.CreateTemp(b.dir, "page-")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, b.groupgate, "page", "--no-browser", "-n", pageNamespace,
		"--kubeconfig", b.plane.Kubeconfig)
	cmd.Stdout, cmd.Stderr = out, b.log
	process, err := lab.StartCommand(cmd)
	if err != nil {
		return nil, err
	}
	p := &pageProcess{process: process}
	err = lab.Await(ctx, "groupgate page to print its address", func(context.Context) (bool, error) {
		if !process.Running() {
			return false, fmt.Errorf("it ended with exit code %d: see %s", process.ExitCode(), b.log.Name())
		}
		text, err := os.ReadFile(out.Name())
		if err != nil {
			return false, err
		}
		address := printedURL.Find(text)
		if address == nil {
			return false, nil
		}
		p.base, err = url.Parse(string(address))
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	p.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	if status, _, err := p.get(ctx, p.base.RequestURI()); err != nil && status != http.StatusSeeOther {
		return nil, errors.Join(err, process.Kill())
	}
	return p, nil
}

// get is the answer to a request; any status but 200 is an error.
func (p *pageProcess) get(ctx context.Context, path string) (status int, body []byte, err error) {
	address, err := p.base.Parse(path)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := p.client.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("read a page: %w", err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.500s", path, response.Status, body)
	}
	return response.StatusCode, body, err
}

// nextPage is the link to the next page of a list.
var nextPage = regexp.MustCompile(`href="(/runs\?[^"]*continue=[^"]*)" rel="next"`)

// follow is the path of the page that comes n pages after that at path.
func (p *pageProcess) follow(ctx context.Context, path string, n int) (string, error) {
	for range n {
		_, body, err := p.get(ctx, path)
		if err != nil {
			return "", err
		}
		next := nextPage.FindSubmatch(body)
		if next == nil {
			return "", fmt.Errorf("%s has no next page", path)
		}
		path = strings.ReplaceAll(string(next[1]), "&amp;", "&")
	}
	return path, nil
}

// pageRuns makes the runs. The first of each kind goes through the API server; the others are copies of it that are
// written to etcd, since a run takes two requests, of which the API server answers some hundred a second.
func (b *bench) pageRuns(ctx context.Context) error {
	begun := time.Now()
	world := lab.World{ControlPlane: b.plane.ControlPlane, Namespace: pageNamespace}
	if err := world.Apply(ctx, lab.NamespaceManifests(pageNamespace)); err != nil {
		return err
	}
	w := etcdRuns{b, pageNamespace}
	for _, kind := range []struct {
		name, group string
		n, each     int
		status      object
	}{
		{"waiting", "waits", waitingRuns, 1, pageStatus(time.Now(), false)},
		{"run", "group", finishedRuns, runsPerGroup, pageStatus(time.Now().Add(-48*time.Hour), true)},
	} {
		first := fmt.Sprintf("%s-%06d", kind.name, 0)
		if err := w.make(ctx, first, fmt.Sprintf("%s-%06d", kind.group, 0), kind.status); err != nil {
			return err
		}
		if err := w.copies(ctx, kind.name, kind.group, kind.n, kind.each); err != nil {
			return err
		}
	}
	last := fmt.Sprintf("/apis/groupgate.io/v1alpha1/namespaces/%s/pruneruns/run-%06d", pageNamespace, finishedRuns-1)
	err := lab.Await(ctx, "the API server to see all runs", func(ctx context.Context) (bool, error) {
		_, err := b.plane.api.Get().AbsPath(last).Param("resourceVersion", "0").DoRaw(ctx)
		return err == nil, nil
	})
	b.say("%d runs are there after %s", waitingRuns+finishedRuns, time.Since(begun).Round(time.Second))
	return err
}

// pageStatus is that of a run that waits for a person, or has removed all of its plan but the last member.
func pageStatus(at time.Time, ended bool) object {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	condition := func(name, status, reason string) object {
		return object{
			"type": name, "status": status, "reason": reason, "lastTransitionTime": stamp(at),
			"message": "20 of 25 inactive members are to go. A member is inactive if it neither joined nor spoke " +
				"for 90d.",
		}
	}
	var removals []object
	for i := range pageMembers {
		removals = append(removals, object{
			"account": fmt.Sprintf("account-%08d", i), "reason": "Inactive",
			"lastActiveAt": stamp(at.AddDate(0, 0, i-200)),
		})
	}
	status := object{
		"policy": object{
			"name": "club", "uid": "0b6a1c1e-4c2e-4b5c-9b1f-0d1e2f3a4b5c", "generation": 3, "mode": "Approve",
		},
		"group": object{"type": "Public", "members": 2000, "maxMembers": 2000},
		"plan": object{
			"createdAt": stamp(at), "candidates": pageMembers + 5, "size": pageMembers, "removals": removals,
			"stay": object{"protected": 3, "admin": 5, "active": 1652, "unknown": 0},
		},
		"conditions": []object{
			condition("Planned", "True", "Planned"), condition("Complete", "False", "AwaitingApproval"),
		},
		"awaitsApproval": true,
	}
	if ended {
		delete(status, "awaitsApproval")
		status["removed"], status["progress"] = pageMembers-1, object{"settled": pageMembers, "inFlight": 0}
		status["kept"] = []object{{"account": removals[pageMembers-1]["account"], "reason": "ActiveAgain"}}
		status["decisions"] = object{"approved": object{"by": "maria", "reason": "agreed with the moderators"}}
		status["conditions"] = []object{
			condition("Planned", "True", "Planned"), condition("Complete", "True", "Removed"),
		}
	}
	return status
}

// etcdRuns writes runs of a namespace.
type etcdRuns struct {
	*bench

	namespace string
}

// make makes a run through the API server.
func (e etcdRuns) make(ctx context.Context, name, group string, status object) error {
	path := "/apis/groupgate.io/v1alpha1/namespaces/" + e.namespace + "/pruneruns"
	err := e.plane.create(ctx, path, object{
		"apiVersion": "groupgate.io/v1alpha1", "kind": "PruneRun", "metadata": object{"name": name},
		"spec": object{"appRef": object{"name": "prod"}, "groupID": group, "trigger": "GroupFull"},
	})
	if err != nil {
		return err
	}
	return e.plane.mergePatch(ctx, path+"/"+name+"/status", object{"status": status})
}

// copies writes the runs 1 to n-1 of a kind to etcd, as copies of its run 0.
func (e etcdRuns) copies(ctx context.Context, kind, group string, n, each int) error {
	prefix := "/registry/groupgate.io/pruneruns/" + e.namespace + "/"
	stored, err := e.read(ctx, fmt.Sprintf("%s%s-%06d", prefix, kind, 0))
	if err != nil {
		return err
	}
	var meta struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(stored, &meta); err != nil || meta.Metadata.UID == "" {
		return fmt.Errorf("read a stored run: %w", errors.Join(err, errors.New("it has no UID")))
	}
	writing, ctx := errgroup.WithContext(ctx)
	writing.SetLimit(4)
	for from := 1; from < n; from += runsPerTransaction {
		writing.Go(func() error {
			values := map[string][]byte{}
			for i := from; i < min(from+runsPerTransaction, n); i++ {
				name := fmt.Sprintf("%s-%06d", kind, i)
				uid := fmt.Sprintf("%s%06x", meta.Metadata.UID[:len(meta.Metadata.UID)-6], i)
				values[prefix+name] = []byte(strings.NewReplacer(
					fmt.Sprintf("%q:%q", "name", fmt.Sprintf("%s-%06d", kind, 0)), fmt.Sprintf("%q:%q", "name", name),
					fmt.Sprintf("%s-%06d", group, 0), fmt.Sprintf("%s-%06d", group, i/each),
					meta.Metadata.UID, uid,
				).Replace(string(stored)))
			}
			return e.write(ctx, values)
		})
	}
	return writing.Wait()
}

// read is a value of etcd, over its gateway for JSON.
func (e etcdRuns) read(ctx context.Context, key string) ([]byte, error) {
	var answer struct {
		KVs []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	err := e.call(ctx, "/v3/kv/range", object{"key": []byte(key)}, &answer)
	if err == nil && len(answer.KVs) != 1 {
		err = fmt.Errorf("etcd has %d values of %s", len(answer.KVs), key)
	}
	if err != nil {
		return nil, err
	}
	return answer.KVs[0].Value, nil
}

func (e etcdRuns) write(ctx context.Context, values map[string][]byte) error {
	var puts []object
	for key, value := range values {
		puts = append(puts, object{"requestPut": object{"key": []byte(key), "value": value}})
	}
	var answer struct {
		Succeeded bool `json:"succeeded"`
	}
	if err := e.call(ctx, "/v3/kv/txn", object{"success": puts}, &answer); err != nil {
		return err
	}
	if !answer.Succeeded {
		return errors.New("etcd did not write")
	}
	return nil
}

func (e etcdRuns) call(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.plane.EtcdURL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("call etcd: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.500s", response.Status, text)
	}
	if err != nil {
		return fmt.Errorf("call etcd: %w", err)
	}
	return json.Unmarshal(text, answer)
}
