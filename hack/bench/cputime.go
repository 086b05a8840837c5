package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time that the processes have used so far, user and system, of all their threads. The kernel counts it in
// nanoseconds here, where /proc/PID/stat has ticks of 10 ms. A thread that ends takes its time with it; the threads of a Go
// program stay.
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

// memory is a field of /proc/PID/status, in MiB: VmRSS is what the process holds, VmHWM the most that it has held.
func memory(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				return 0, fmt.Errorf("read %s of process %d: %w", field, pid, err)
			}
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}

// pin lets all threads of a process run on the given CPUs only; threads to come inherit that.
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

// renice sets the niceness of all threads of a process; threads to come inherit that.
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
func children(name string) ([]int, error) {
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			command, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			if strings.TrimSpace(string(command)) == name {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}
