package suite

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/groupgate/groupgate/internal/lint"
	"github.com/groupgate/groupgate/internal/manifests"
)

// Options say what to run.
type Options struct {
	// Namespace is that of manifests that name none.
	Namespace string
	// Run selects cases by their names; nil selects all.
	Run *regexp.Regexp
	// Now is the time of cases that name none.
	Now time.Time
	// In is read for the path "-".
	In io.Reader
}

// Run checks the manifests of each path, a file or a folder, and runs the cases of the files of tests there, at any
// depth. The manifests that a file of tests names are checked together, and so are all others of a path: references are
// resolved within them. An error is about what cannot be read; everything else is in the report.
func Run(ctx context.Context, paths []string, o Options) (*Report, error) {
	linter, err := lint.New()
	if err != nil {
		return nil, err
	}
	r := &running{
		Options: o, Report: &Report{Files: []File{}}, linter: linter, read: caching(), said: map[lint.Problem]bool{},
	}
	for _, path := range paths {
		if path != manifests.Stdin {
			path = filepath.Clean(path)
		}
		if err := r.path(ctx, path); err != nil {
			return nil, err
		}
	}
	return r.Report, nil
}

// running is one Run.
type running struct {
	Options
	*Report
	linter *lint.Linter
	read   reader
	said   map[lint.Problem]bool
}

// reader reads the documents of a path.
type reader func(path string, in io.Reader) ([]manifests.Document, error)

// caching reads each path once: a folder is read as a PATH and as the manifests of the file of tests in it.
func caching() reader {
	known := map[string][]manifests.Document{}
	return func(path string, in io.Reader) ([]manifests.Document, error) {
		if documents, ok := known[path]; ok {
			return documents, nil
		}
		documents, err := manifests.Documents([]string{path}, in)
		if err != nil {
			return nil, err
		}
		known[path] = documents
		return documents, nil
	}
}

func (r *running) path(ctx context.Context, path string) error {
	tests, err := r.testsIn(path)
	if err != nil {
		return err
	}
	covered := map[string]bool{}
	for _, t := range tests {
		documents, err := t.documents(r.read, r.In)
		if err != nil {
			return err
		}
		for i := range documents {
			covered[documents[i].File] = true
		}
		report := r.linter.Check(ctx, documents, r.Namespace)
		file := r.add(t.path, report)
		if err := r.cases(file, t, report); err != nil {
			return err
		}
	}
	documents, err := r.read(path, r.In)
	if err != nil {
		return err
	}
	for i := range documents {
		d := &documents[i]
		named := func(t *Test) bool { return filepath.Clean(t.path) == filepath.Clean(d.File) }
		if isTest(d) && !slices.ContainsFunc(tests, named) {
			return fmt.Errorf("%s:%d: the cases of this Test would not be run: put them into a file of their own that "+
				"is called %s", d.File, d.Line, FileNames[0])
		}
	}
	rest := slices.DeleteFunc(slices.Clone(documents), func(d manifests.Document) bool { return covered[d.File] })
	if report := r.linter.Check(ctx, rest, r.Namespace); report.Manifests > 0 || len(tests) == 0 {
		r.add(path, report)
	}
	return nil
}

// testsIn returns the files of tests of a path.
func (r *running) testsIn(path string) ([]*Test, error) {
	if path == manifests.Stdin {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var files []string
	if !info.IsDir() {
		documents, err := r.read(path, r.In)
		if err != nil {
			return nil, err
		}
		if len(documents) == 1 && isTest(&documents[0]) {
			files = []string{path}
		}
	} else {
		err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && slices.Contains(FileNames, entry.Name()) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var tests []*Test
	for _, file := range files {
		documents, err := r.read(file, r.In)
		if err != nil {
			return nil, err
		}
		if len(documents) != 1 {
			return nil, fmt.Errorf("%s has %d documents: write one, with all cases", file, len(documents))
		}
		t, err := decode(documents[0], r.Now)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	return tests, nil
}

var apiVersion = regexp.MustCompile(`(?m)^["{\s]*apiVersion"?:\s*["']?` + regexp.QuoteMeta(Group) + `/`)

func isTest(d *manifests.Document) bool {
	return slices.Contains(FileNames, filepath.Base(d.File)) || apiVersion.Match(d.Text)
}

// add adds what a report says about manifests, and returns where the cases go. A problem is told once.
func (r *running) add(name string, report *lint.Report) *File {
	file := File{Name: name, Manifests: report.Manifests, Problems: []lint.Problem{}, Cases: []Result{}}
	for _, p := range report.Problems {
		if r.said[p] {
			continue
		}
		r.said[p] = true
		file.Problems = append(file.Problems, p)
		if p.Severity == lint.Error {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
	r.Manifests += report.Manifests
	r.Files = append(r.Files, file)
	return &r.Files[len(r.Files)-1]
}

// cases runs those of a file of tests. While a manifest is not valid, they are skipped: the answers would be those of a
// cluster without it.
func (r *running) cases(file *File, t *Test, report *lint.Report) error {
	var compiled *manifests.Compiled
	for i := range t.Cases {
		c := &t.Cases[i]
		if r.Run != nil && !r.Run.MatchString(c.Name) {
			continue
		}
		result := Result{Name: c.Name, Line: t.document.LineOf(fmt.Sprintf("cases[%d]", i))}
		switch {
		case report.Count(lint.Error) > 0:
			result.Result = Skipped
			r.Skipped++
		default:
			if compiled == nil {
				compiled = report.Objects.Compile()
			}
			start := time.Now()
			if err := c.run(t, &world{report.Objects, compiled}, &result); err != nil {
				return fmt.Errorf("%s:%d: case %q: %w", t.path, result.Line, c.Name, err)
			}
			result.Seconds = time.Since(start).Seconds()
			if len(result.Differences) > 0 {
				result.Result = Failed
				r.Failed++
			} else {
				result.Result = Passed
				r.Passed++
			}
		}
		file.Cases = append(file.Cases, result)
	}
	return nil
}
