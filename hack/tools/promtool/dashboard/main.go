// Command dashboard evaluates the panels of config/prometheus/dashboard.json with Prometheus' own engine, over what
// hack/record recorded, and draws them.
//
//	go run ./hack/record --dir=/tmp/scrapes --for=12m --interval=5s
//	go -C hack/tools/promtool run ./dashboard --scrapes=/tmp/scrapes --svg=../../../docs/images/dashboard.svg
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	file := flag.String("dashboard", "../../../config/prometheus/dashboard.json", "the dashboard")
	scrapes := flag.String("scrapes", "", "folder with the files of hack/record")
	svg := flag.String("svg", "", "where the picture is written to; empty: nowhere")
	flag.Parse()
	if err := run(context.Background(), *file, *scrapes, *svg); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file, scrapes, svg string) error {
	board, err := readDashboard(file)
	if err != nil {
		return err
	}
	db, err := load(scrapes)
	if err != nil {
		return err
	}
	defer func() { _ = db.close() }()
	var errs []error
	for i := range board.Panels {
		p := &board.Panels[i]
		if err := db.evaluate(ctx, p, 4*db.step()); err != nil {
			errs = append(errs, err)
		}
		if p.Type != "row" {
			fmt.Printf("%-34s %3d series\n", p.Title, len(p.series))
		}
	}
	if err := errors.Join(errs...); err != nil || svg == "" {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(svg), 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	return os.WriteFile(svg, draw(board, time.UnixMilli(db.from), time.UnixMilli(db.to)), 0o644)
}
