package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/groupgate/groupgate/internal/lab"
)

// server is a server under measurement.
type server struct {
	target
	end func() error
}

// startServer starts a process and waits until it listens.
func (b *bench) startServer(
	ctx context.Context,
	env []string,
	address, binary string,
	args ...string,
) (*server, error) {
	process, err := lab.Start(b.log, env, binary, args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	listens := func(ctx context.Context) (bool, error) {
		if !process.Running() {
			return false, fmt.Errorf("it ended with exit code %d: see %s", process.ExitCode(), b.log.Name())
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return true, conn.Close()
	}
	if err := lab.Await(ctx, filepath.Base(binary)+" to listen", listens); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return &server{target: target{address: address, pids: []int{process.PID()}}, end: process.Kill}, nil
}

// withProcs is the environment of a process with that many Ps; 0 leaves it to the runtime.
func withProcs(procs int) []string {
	if procs == 0 {
		return nil
	}
	return []string{"GOMAXPROCS=" + strconv.Itoa(procs)}
}

// cpuTime is the CPU time that the processes have used so far, user and system, of all their threads, in the
// nanoseconds of schedstat: /proc/PID/stat has ticks of 10 ms. The time of a thread that ends is lost; the threads of a
// Go program stay.
func cpuTime(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(files) == 0 {
			return 0, fmt.Errorf("read the CPU time of process %d: no threads in /proc", pid)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
			}
			onCPU, _, _ := strings.Cut(string(text), " ")
			nanoseconds, err := strconv.ParseInt(onCPU, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", file, err)
			}
			sum += time.Duration(nanoseconds)
		}
	}
	return sum, nil
}

// The fields of memory.
const (
	resident = "VmRSS" // what the process holds
	peak     = "VmHWM" // the most that it has held
)

// memory is a field of /proc/PID/status, in MiB.
func memory(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				return 0, fmt.Errorf("read %s of process %d: %w", field, pid, err)
			}
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}

// resetPeak sets the peak of a process to what it holds now.
func resetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200); err != nil {
		return fmt.Errorf("reset the peak of the memory: %w", err)
	}
	return nil
}

// pin lets all threads of a process run on the given CPUs only; new threads inherit that.
func pin(pid int, cpus ...int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return eachThread(pid, func(tid int) error {
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin thread %d to CPUs %v: %w", tid, cpus, err)
		}
		return nil
	})
}

// renice sets the niceness of all threads of a process; new threads inherit that.
func renice(pid, niceness int) error {
	return eachThread(pid, func(tid int) error {
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); err != nil {
			return fmt.Errorf("set the niceness of thread %d to %d: %w", tid, niceness, err)
		}
		return nil
	})
}

func eachThread(pid int, do func(tid int) error) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := do(tid); err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has ended
			return err
		}
	}
	return nil
}

// children are the processes that this one has started and that still run under that name.
func children(name string) (pids []int, err error) {
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			command, err := os.ReadFile("/proc/" + field + "/comm")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			if strings.TrimSpace(string(command)) == name {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}
