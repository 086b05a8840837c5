package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// compile times the build after an edit, of 1,000,000 accounts in as many lists as there are policies. As in the
// manager, the compiler gets only what changed. The conversion of that object from the API and the packing of its
// accounts happen before and are not timed.
func (b *bench) compile(ctx context.Context) error {
	growth := b.results.table("How a build of 1,000,000 accounts grows, in ms:",
		"policies", "cold", "after an edit of one policy", "after an edit of one list")
	for _, policies := range []int{1_000, 3_000, 10_000, 30_000, 100_000} {
		w := manyWorld
		w.groups, w.accounts = policies, 1_000_000/policies
		in := w.input()
		var compiler policy.Compiler
		begun := time.Now()
		compiler.Set(in)
		compiler.Build()
		cold := milliseconds(time.Since(begun))

		var ofPolicy, ofList []float64
		for i := range 2 * b.rounds {
			if err := ctx.Err(); err != nil {
				return err
			}
			in.Policies[i].Generation++
			begun := time.Now()
			compiler.SetPolicy(in.Policies[i])
			compiler.Build()
			ofPolicy = append(ofPolicy, milliseconds(time.Since(begun)))
			in.Lists[i].Generation++
			begun = time.Now()
			compiler.SetList(in.Lists[i])
			compiler.Build()
			ofList = append(ofList, milliseconds(time.Since(begun)))
		}
		growth.add(policies, cold, median(ofPolicy), median(ofList))
		b.results.add(fmt.Sprintf("compile/%d", policies), ofPolicy...)
		b.say("build of %d policies: %.3f ms after an edit of a policy, %.3f ms of a list", policies, median(ofPolicy),
			median(ofList))
		debug.FreeOSMemory()
	}
	return nil
}
