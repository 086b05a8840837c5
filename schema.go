package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/schema"
	"github.com/groupgate/groupgate/internal/suite"
)

func schemaCommand() *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "schema [KIND]",
		Short: "Print the JSON schema of a kind, for editors and kubeconform",
		Long: "Print the JSON schema of a kind, or one for all kinds together: of IMApp, AccountList, GroupPolicy, " +
			"PruneRun, and of Test, which is a groupgate-test.yaml. The schemas know no rules between fields: " +
			"groupgate test does.",
		Example: "  groupgate schema GroupPolicy\n" +
			"  groupgate schema --dir docs/schemas",
		RunE: func(cmd *cobra.Command, args []string) error {
			documents, err := schema.Documents()
			if err != nil {
				return err
			}
			var test map[string]any
			if err := json.Unmarshal(suite.Schema, &test); err != nil {
				return err
			}
			documents[suite.Kind] = test
			switch {
			case len(args) > 1 || len(args) == 1 && folder != "":
				return badInputError{fmt.Errorf("schema takes one kind, or none; with --dir it writes all of them")}
			case folder != "":
				return writeSchemas(folder, documents)
			case len(args) == 0:
				return printSchema(cmd, schema.Any(documents))
			}
			kinds := slices.Sorted(maps.Keys(documents))
			i := slices.IndexFunc(kinds, func(kind string) bool { return strings.EqualFold(kind, args[0]) })
			if i < 0 {
				return badInputError{fmt.Errorf("kind %q is not known: use one of %s",
					args[0], strings.Join(kinds, ", "))}
			}
			return printSchema(cmd, documents[kinds[i]])
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
	cmd.Flags().StringVar(&folder, "dir", "",
		"write a file for each kind into this folder, by the names that kubeconform looks for, and all.json for "+
			"editors")
	return cmd
}

func printSchema(cmd *cobra.Command, document map[string]any) error {
	_, err := fmt.Fprint(cmd.OutOrStdout(), string(schemaText(document)))
	return err
}

// schemaText is a schema as JSON. A map of what was JSON can be written as such.
func schemaText(document map[string]any) []byte {
	text, _ := json.MarshalIndent(document, "", "  ")
	return append(text, '\n')
}

func writeSchemas(folder string, documents map[string]map[string]any) error {
	files := map[string]map[string]any{"all.json": schema.Any(documents)}
	for kind, document := range documents {
		files[strings.ToLower(kind)+"_"+v1alpha1.GroupVersion.Version+".json"] = document
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // documentation, for everybody
		return badInputError{err}
	}
	for name, document := range files {
		//nolint:gosec // documentation, for everybody
		if err := os.WriteFile(filepath.Join(folder, name), schemaText(document), 0o644); err != nil {
			return badInputError{err}
		}
	}
	return nil
}
