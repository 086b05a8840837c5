package suite

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/internal/lint"
)

// The elements of JUnit's XML.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		File      string        `xml:"file,attr,omitempty"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitMessage `xml:"failure,omitempty"`
		Skipped   *junitMessage `xml:"skipped,omitempty"`
		Output    string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML: a suite for each file, in which the first test is that the manifests are
// valid.
func (r *Report) WriteJUnit(out io.Writer) error {
	all := junitSuites{Name: "groupgate"}
	for i := range r.Files {
		s := r.Files[i].junit()
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Skipped += s.Skipped
		all.Suites = append(all.Suites, s)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s%s\n", xml.Header, text)
	return err
}

func (f *File) junit() junitSuite {
	seconds := 0.0
	s := junitSuite{Name: f.Name, Cases: []junitCase{f.junitOfManifests()}}
	for i := range f.Cases {
		c := &f.Cases[i]
		seconds += c.Seconds
		told := junitCase{
			Name: c.Name, ClassName: f.Name, File: f.Name, Line: c.Line, Time: inSeconds(c.Seconds),
		}
		switch c.Result {
		case Failed:
			text := ""
			if c.Explanation != nil {
				text = explained(c.Explanation)
			}
			told.Failure = &junitMessage{strings.Join(c.Differences, "; "), text}
		case Skipped:
			told.Skipped = &junitMessage{Message: "a manifest is not valid"}
		}
		s.Cases = append(s.Cases, told)
	}
	for i := range s.Cases {
		s.Tests++
		if s.Cases[i].Failure != nil {
			s.Failures++
		}
		if s.Cases[i].Skipped != nil {
			s.Skipped++
		}
	}
	s.Time = inSeconds(seconds)
	return s
}

func (f *File) junitOfManifests() junitCase {
	told := junitCase{Name: "manifests", ClassName: f.Name, Time: inSeconds(0)}
	var failures, warnings []string
	for i := range f.Problems {
		p := &f.Problems[i]
		text := fmt.Sprintf("%s: %s: %s", p.Where(), p.Object, p.Message)
		if p.Severity == lint.Error {
			failures = append(failures, text)
		} else {
			warnings = append(warnings, text)
		}
	}
	if len(failures) > 0 {
		told.Failure = &junitMessage{count(len(failures), "error"), strings.Join(failures, "\n")}
	}
	told.Output = strings.Join(warnings, "\n")
	return told
}

func inSeconds(seconds float64) string { return strconv.FormatFloat(seconds, 'f', 6, 64) }
