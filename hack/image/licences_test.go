package main

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// No module that is linked into the binary has a copyleft licence. Every platform has modules of its own.
func TestNoCopyleftIsLinkedIn(t *testing.T) {
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"} {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		r := recipe{source: source}
		all, err := r.licences(t.Context(), *p)
		if err != nil {
			t.Errorf("%s: %v", platform, err)
		}
		if len(all) < 50 || all[0].module != "go "+strings.TrimPrefix(goVersion(t, &r, *p), "go") {
			t.Errorf("%s: %d licences: the list is not read", platform, len(all))
		}
	}
}

func goVersion(t *testing.T, r *recipe, platform v1.Platform) string {
	t.Helper()
	version, err := r.goCommand(t.Context(), platform, "env", "GOVERSION")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(version)
}

func TestLicencesThatAskForMoreAreRefused(t *testing.T) {
	const mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software.\n" +
		"The above copyright notice and this permission notice shall be included in all copies."
	for text, want := range map[string]string{
		mit: "MIT",
		mit + "\nParts are under the GNU General\n Public License, version 2.": "GPL",
		"GNU LESSER GENERAL PUBLIC LICENSE":                                    "LGPL",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                    "AGPL",
		"Mozilla Public License Version 2.0":                                   "MPL-2.0",
		"All rights reserved. Do not copy.":                                    "unknown",
		"":                                                                     "unknown",
	} {
		got := classify([]byte(text))
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
		err := checkLicences([]licence{{module: "example.com/m v1", path: "LICENSE", kind: got}}, "")
		if (err == nil) != (want == "MIT") || err != nil && !strings.Contains(err.Error(), "example.com/m v1") {
			t.Errorf("%s: %v", want, err)
		}
	}
	err := checkLicences(nil, "example.com/m v1\t/m\t/m\n")
	if err == nil || !strings.Contains(err.Error(), "example.com/m v1 has no LICENSE file") {
		t.Errorf("a module without a licence: %v", err)
	}
}
