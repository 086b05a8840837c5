package lint

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/schema"
)

// Severity says how bad a problem is.
type Severity string

const (
	// Error is what the API server would refuse, or the operator would not accept.
	Error Severity = "error"
	// Warning is what both accept, and what most likely is not meant.
	Warning Severity = "warning"
)

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	// File is the path of a file, or the folder of a kustomization; then Line is 0.
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Object is the kind, namespace and name, as "GroupPolicy chat/vip"; empty if they cannot be read.
	Object   string   `json:"object,omitempty"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
}

// Where is the place of the problem, as "gate.yaml:12".
func (p *Problem) Where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Report is what is known about some manifests.
type Report struct {
	// Objects are the valid ones, with their defaults.
	Objects *manifests.Objects
	// Manifests counts the documents of the four kinds.
	Manifests int
	// Problems are in the order of the files.
	Problems []Problem
}

// Count counts the problems of a severity.
func (r *Report) Count(severity Severity) int {
	n := 0
	for i := range r.Problems {
		if r.Problems[i].Severity == severity {
			n++
		}
	}
	return n
}

// Linter checks manifests.
type Linter struct {
	validators map[string]*schema.Validator
}

// New returns a linter, which may be used again and again, but not concurrently.
func New() (*Linter, error) {
	validators, err := schema.Validators()
	if err != nil {
		return nil, err
	}
	return &Linter{validators: validators}, nil
}

// Check checks the manifests of one cluster: references from one to the other are resolved. Objects without a namespace
// are in that one. Documents of other groups are passed over, except Secrets.
func (l *Linter) Check(ctx context.Context, documents []manifests.Document, namespace string) *Report {
	c := &checking{
		Report: &Report{Objects: &manifests.Objects{FromFiles: true}},
		places: map[string]place{}, secrets: secretsIn(documents, namespace),
	}
	for i := range documents {
		c.read(ctx, l.validators, &documents[i], namespace)
	}
	c.checkObjects()
	slices.SortStableFunc(c.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return c.Report
}

// checking is one Check.
type checking struct {
	*Report
	places  map[string]place // of the valid objects
	secrets map[string]map[string][]byte
}

// place is where an object stands.
type place struct {
	document *manifests.Document
	object   string
}

func (c *checking) add(at place, severity Severity, field, format string, args ...any) {
	c.Problems = append(c.Problems, Problem{
		File: at.document.File, Line: at.document.LineOf(field), Object: at.object,
		Severity: severity, Message: fmt.Sprintf(format, args...),
	})
}

// read validates a document and, if it is valid, keeps its object.
func (c *checking) read(
	ctx context.Context, validators map[string]*schema.Validator, d *manifests.Document, namespace string,
) {
	at := place{document: d}
	text, meta, err := d.JSON()
	if text == nil && err == nil {
		return
	}
	c.Manifests++
	if err != nil {
		c.add(at, Error, "", "%v", err)
		return
	}
	var named unstructured.Unstructured
	at.object = meta.Kind
	if named.UnmarshalJSON(text) == nil {
		at.object += " " + cmp.Or(named.GetNamespace(), namespace) + "/" +
			cmp.Or(named.GetName(), named.GetGenerateName())
	}
	valid, problems := validators[meta.Kind].Create(ctx, text, namespace)
	for i, p := range problems {
		if p.Field == noField && i > 0 {
			p.Field = problems[i-1].Field
		}
		c.add(at, Error, p.Field, "%s", p.Message)
	}
	c.checkText(at, &named)
	if len(problems) > 0 {
		return
	}
	if named.GetName() == "" {
		c.add(at, Warning, "metadata.generateName",
			"metadata.generateName works with kubectl create only: kubectl apply and GitOps tools need a metadata.name")
	}
	if first, twice := c.places[at.object]; twice {
		c.add(at, Error, "metadata.name",
			"%s is in %s as well; test the manifests of another cluster as a PATH of its own",
			at.object, (&Problem{File: first.document.File, Line: first.document.Line}).Where())
		return
	}
	if status, ok := named.Object["status"]; ok {
		valid.Object["status"] = status // which a file may show, as a record that refuses accounts
	}
	object := manifests.New(meta.Kind)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(valid.Object, object); err != nil {
		c.add(at, Error, "", "%v", err)
		return
	}
	c.places[c.Objects.Add(object)] = at
}

// noField is the path of a problem of the whole object: the API server says with it that it has not checked all rules.
const noField = "<nil>"

// mentions reports whether the text of a document may hold the word: a cheap look before it is parsed.
func mentions(d *manifests.Document, word string) bool { return bytes.Contains(d.Text, []byte(word)) }
