package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// licence is a text that covers linked packages.
type licence struct {
	module string // path and version, or "go" and the version of the standard library
	path   string // of the file, below the module
	kind   string // an SPDX identifier
	text   []byte
	notice bool // a NOTICE, which Apache-2.0 has us hand on
}

// permitted licences ask for no more than that their texts are handed on, which the image does.
var permitted = map[string]bool{
	"Apache-2.0": true, "MIT": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true,
}

// signs are words of each licence, in lower case and with single blanks, that no other one has. All have to be there.
var signs = []struct {
	kind  string
	words []string
}{
	// Copyleft first: a file may hold more than one licence.
	{"AGPL", []string{"gnu affero general public license"}},
	{"LGPL", []string{"gnu lesser general public license"}},
	{"GPL", []string{"gnu general public license"}},
	{"MPL-2.0", []string{"mozilla public license"}},
	{"EPL", []string{"eclipse public license"}},
	{"CDDL", []string{"common development and distribution license"}},
	{"Apache-2.0", []string{"apache license", "version 2.0, january 2004", "grant of patent license"}},
	{"MIT", []string{
		"permission is hereby granted, free of charge, to any person obtaining a copy",
		"the above copyright notice and this permission notice shall be included",
	}},
	{"BSD-3-Clause", []string{
		"redistribution and use in source and binary forms", "redistributions in binary form must reproduce",
		"may be used to endorse or promote products derived",
	}},
	{"BSD-2-Clause", []string{
		"redistribution and use in source and binary forms", "redistributions in binary form must reproduce",
	}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"ISC", []string{"permission to use, copy, modify, and distribute this software for any purpose"}},
}

// classify returns the SPDX identifier of a text, or "unknown".
func classify(text []byte) string {
	words := strings.Join(strings.Fields(strings.ToLower(string(text))), " ")
	for _, sign := range signs {
		missing := func(phrase string) bool { return !strings.Contains(words, phrase) }
		if !slices.ContainsFunc(sign.words, missing) {
			return sign.kind
		}
	}
	return "unknown"
}

// licences are those of all packages that are linked into the binary of a platform, the standard library first. The
// error names a module that has none, or one that is not permitted.
func (r *recipe) licences(ctx context.Context, platform v1.Platform) ([]licence, error) {
	const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}"
	packages, err := r.goCommand(ctx, platform, "list", "-deps", "-f", format, ".")
	if err != nil {
		return nil, err
	}
	toolchain, err := r.goCommand(ctx, platform, "env", "GOVERSION", "GOROOT")
	if err != nil {
		return nil, err
	}
	version, goroot, _ := strings.Cut(strings.TrimSpace(toolchain), "\n")
	all, err := licencesIn("go "+strings.TrimPrefix(version, "go"), goroot, goroot)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(packages) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue // a package of the standard library, or of Groupgate
		}
		module, top, dir := fields[0], fields[1], fields[2]
		// A part of a module that comes from elsewhere has a licence of its own, besides that of the module.
		for ; ; dir = filepath.Dir(dir) {
			if !seen[dir] {
				seen[dir] = true
				found, err := licencesIn(module, top, dir)
				if err != nil {
					return nil, err
				}
				all = append(all, found...)
			}
			if dir == top {
				break
			}
		}
	}
	return all, checkLicences(all, packages)
}

// checkLicences fails for a licence that is not permitted, and for a module without one.
func checkLicences(all []licence, packages string) error {
	licensed := map[string]bool{}
	for _, l := range all {
		licensed[l.module] = licensed[l.module] || !l.notice
		if !l.notice && !permitted[l.kind] {
			return fmt.Errorf("%s: the licence in %s is %s: replace the module, or read the licence and teach "+
				"hack/image/licences.go about it", l.module, l.path, l.kind)
		}
	}
	for line := range strings.Lines(packages) {
		if module, _, ok := strings.Cut(line, "\t"); ok && !licensed[module] {
			return fmt.Errorf("%s has no LICENSE file: replace the module", module)
		}
	}
	return nil
}

// licencesIn are those of the files of one folder of a module.
func licencesIn(module, top, dir string) ([]licence, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []licence
	for _, entry := range entries {
		name := strings.ToUpper(strings.TrimSuffix(entry.Name(), filepath.Ext(entry.Name())))
		notice := strings.HasPrefix(name, "NOTICE")
		text := strings.HasPrefix(name, "LICEN") || strings.HasPrefix(name, "COPYING")
		switch filepath.Ext(entry.Name()) {
		case "", ".md", ".txt", ".MIT", ".BSD", ".libyaml":
		default: // license.go
			continue
		}
		if entry.IsDir() || !notice && !text {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		below, err := filepath.Rel(top, path)
		if err != nil {
			return nil, err
		}
		l := licence{module: module, path: filepath.ToSlash(below), text: bytes.TrimSpace(content), notice: notice}
		if !notice {
			l.kind = classify(content)
		}
		found = append(found, l)
	}
	return found, nil
}

// notices are the files below /licenses: the licence of Groupgate, and THIRD_PARTY with those of all that is linked in.
func (r *recipe) notices(ctx context.Context, platform v1.Platform) ([]file, error) {
	own, err := os.ReadFile(filepath.Join(r.source, "LICENSE"))
	if err != nil {
		return nil, err
	}
	all, err := r.licences(ctx, platform)
	if err != nil {
		return nil, err
	}
	return []file{{"licenses/LICENSE", own, 0o644}, {"licenses/THIRD_PARTY", thirdParty(all), 0o644}}, nil
}

// thirdParty lists the licences, and then holds each text once.
func thirdParty(all []licence) []byte {
	var out bytes.Buffer
	out.WriteString("Groupgate contains the following software. The texts of all licences and notices are below.\n" +
		"The root certificates in the image are those of Mozilla's CA Certificate Program.\n\n")
	var texts [][]byte
	used := map[string][]string{} // by text
	for _, l := range all {
		if !l.notice {
			fmt.Fprintf(&out, "%s: %s\n", l.module, l.kind)
		}
		if used[string(l.text)] == nil {
			texts = append(texts, l.text)
		}
		used[string(l.text)] = append(used[string(l.text)], l.module+" ("+l.path+")")
	}
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("-", 80), strings.Join(used[string(text)], "\n"), text)
	}
	return out.Bytes()
}

// listLicences prints a table of the licences of the binary for linux/amd64.
func listLicences(ctx context.Context, out io.Writer, source string) error {
	r := recipe{source: source}
	all, err := r.licences(ctx, v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range all {
		if !l.notice {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", l.kind, l.module, l.path)
		}
	}
	return w.Flush()
}

func (r *recipe) goCommand(ctx context.Context, platform v1.Platform, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.source
	cmd.Env = goEnvironment(platform)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return string(out), nil
}
