package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/groupgate/groupgate/internal/explain"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/memberfile"
	"github.com/groupgate/groupgate/internal/policy"
)

// source says where a tool finds the objects: in files, or in the cluster of a kubeconfig.
type source struct {
	cluster
	files []string
}

func (s *source) addFlags(f *pflag.FlagSet) {
	f.StringSliceVarP(&s.files, "filename", "f", nil,
		"file or folder with manifests, or with a kustomization, repeatable; - is the standard input; "+
			"default: the cluster of the kubeconfig")
	s.cluster.addFlags(f)
	f.Lookup("namespace").Usage += ", and default for files"
}

func (s *source) read(ctx context.Context, in io.Reader) (*manifests.Objects, error) {
	if s.files != nil && len(s.files) == 0 { // a variable of a script may be empty: that does not mean the cluster
		return nil, errors.New("-f names no file")
	}
	if len(s.files) > 0 {
		objects, err := manifests.Read(s.files, cmp.Or(s.within(), "default"), in)
		if err != nil || s.within() == "" {
			return objects, err
		}
		return objects.In(s.within()), nil
	}
	reader, err := s.client()
	if err != nil {
		return nil, fmt.Errorf("%w (use -f for files)", err)
	}
	namespace, err := s.scope()
	if err != nil {
		return nil, err
	}
	objects, err := manifests.List(ctx, reader, namespace)
	return objects, withRights(err, "", namespace)
}

func explainCommand() *cobra.Command {
	var (
		s                               source
		app, trigger, groupType, output string
		at, members                     string
	)
	cmd := &cobra.Command{
		Use:   "explain GROUP [ACCOUNT]",
		Short: "Say whether an account may join a group, and why; who governs a group; who would be evicted",
		Long: "Say whether an account may join a group, and why. Without an account, say which policies govern the " +
			"group, and by whose rules members are removed. With --members, say which of these members would be " +
			"evicted by join.evict, and why.\n\n" +
			"Members are read from a CSV file whose first line names the columns (account, role, joined, lastSpoke, " +
			"muteUntil), from a list of such members in YAML or JSON, or from the answers of the vendor's " +
			"get_group_member_info, one after the other; - is the standard input.\n\n" +
			"The policies come from files (-f), or from the cluster of the kubeconfig: then it needs read access to " +
			"the four kinds, and to no Secret. The exit code is 0 whatever the verdict, and 2 for bad input.",
		Example: "  groupgate explain vip-berlin mallory -f config/samples\n" +
			"  groupgate explain vip-berlin mallory -n chat --trigger Invite -o json\n" +
			"  groupgate explain vip-berlin -n chat\n" +
			"  groupgate explain vip-berlin -n chat --members members.csv",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n < 1 || n > 2 {
				return badInputError{fmt.Errorf("explain takes a group, and an account or none, not %d words", n)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := question(app, args, trigger, groupType, at)
			if err != nil {
				return badInputError{err}
			}
			if err := validateOutput(output); err != nil {
				return err
			}
			if cmd.Flags().Changed("members") {
				switch {
				case len(args) > 1:
					return badInputError{errors.New("--members is about all members: name the group only")}
				case members == memberfile.Stdin && slices.Contains(s.files, manifests.Stdin):
					return badInputError{errors.New("only one of -f and --members can be the standard input")}
				}
			}
			objects, err := s.read(cmd.Context(), cmd.InOrStdin())
			if err != nil {
				return badInputError{err}
			}
			var answer explanation
			switch {
			case cmd.Flags().Changed("members"):
				answer, err = explainMembers(objects, &q, members, cmd.InOrStdin())
			case len(args) == 1:
				answer, err = explain.AskGoverns(objects, q)
			default:
				answer, err = explain.AskJoin(objects, q)
			}
			if err != nil {
				return badInputError{err}
			}
			return printAnswer(cmd.OutOrStdout(), answer, output)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
	f := cmd.Flags()
	s.addFlags(f)
	f.StringVar(&app, "app", "", "name of the IMApp, or namespace/name; needed if there are several")
	f.StringVar(&trigger, "trigger", "Apply", "how the account would join: Apply, Invite or RESTAPI")
	f.StringVar(&groupType, "type", "", "type of the group: Work, Public, Meeting, AVChatRoom or Community; "+
		"default: unknown, for which every policy speaks that might")
	f.StringVar(&at, "at", "",
		"time of the join or the eviction, in RFC 3339, such as 2026-11-21T12:00:00Z; default: now")
	f.StringVar(&members, "members", "", "file with the members of the group: say who of them would be evicted")
	f.StringVarP(&output, "output", "o", "", "json or yaml; default: text")
	s.completeFlags(cmd)
	return cmd
}

func explainMembers(
	objects *manifests.Objects, q *explain.Question, file string, in io.Reader,
) (*explain.Evictions, error) {
	members, note, err := memberfile.Read(file, in, q.At)
	if err != nil {
		return nil, fmt.Errorf("--members: %w", err)
	}
	answer, err := explain.AskEvictions(objects, &explain.MembersQuestion{
		App: q.App, Group: q.Group, Type: q.Type, Members: members, At: q.At,
	})
	if err == nil && note != "" {
		answer.Hints = append(answer.Hints,
			note+": the others are not counted, and the plan of a run may be another one.")
	}
	return answer, err
}

func question(app string, args []string, trigger, groupType, at string) (explain.Question, error) {
	q := explain.Question{App: app, Group: args[0], At: time.Now()}
	if len(args) > 1 {
		q.Account = args[1]
	}
	if q.Group == "" || len(args) > 1 && q.Account == "" {
		return q, fmt.Errorf("the group and the account must not be empty")
	}
	known := false
	for _, t := range []policy.Trigger{policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI} {
		if strings.EqualFold(trigger, t.String()) {
			q.Trigger, known = t, true
		}
	}
	if !known {
		return q, fmt.Errorf("--trigger is %q: use Apply, Invite or RESTAPI", trigger)
	}
	if q.Type = policy.ParseGroupType(groupType); q.Type == policy.TypeUnknown && groupType != "" {
		return q, fmt.Errorf("--type is %q: use Work, Public, Meeting, AVChatRoom or Community", groupType)
	}
	if at != "" {
		var err error
		if q.At, err = time.Parse(time.RFC3339, at); err != nil {
			return q, fmt.Errorf("--at is %q: use RFC 3339, such as 2026-11-21T12:00:00Z", at)
		}
	}
	return q, nil
}
