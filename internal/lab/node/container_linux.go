package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// argument0 marks a process that is to become a container. Another copy of the running binary does that, since
	// the mounts have to be made in the new namespaces, before the program of the container starts.
	argument0 = "groupgate-container"
	// specVariable holds the container as JSON.
	specVariable = "GROUPGATE_CONTAINER"
)

func init() { // there is no main to call it: this is part of test binaries
	if os.Args[0] != argument0 {
		return
	}
	err := becomeContainer(os.Getenv(specVariable))
	fmt.Fprintln(os.Stderr, "start a container:", err)
	os.Exit(125)
}

// command is the process of the container: not started, and in a process group of its own.
func (c *container) command() (*exec.Cmd, error) {
	for _, m := range c.Mounts {
		if err := makeTarget(c.Root, m); err != nil {
			return nil, err
		}
	}
	spec, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write the container: %w", err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{argument0}
	cmd.Env = []string{specVariable + "=" + string(spec)}
	cmd.SysProcAttr = namespaces(c.UID, c.GID)
	return cmd, nil
}

// namespaces are those of a container. Without root, a user namespace gives the rights to make the others; in it, this
// user is called uid.
func namespaces(uid, gid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getegid(), Size: 1}}
		// A uid other than 0 would lose them when the copy of this binary starts.
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	}
	return attr
}

// Check fails on a machine that cannot run Pods, and says what to change.
func Check() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{argument0}
	cmd.Env = []string{specVariable + "={}"} // mounts, and fails then
	cmd.SysProcAttr = namespaces(65532, 65532)
	var out strings.Builder
	cmd.Stderr = &out
	err := cmd.Run()
	if strings.Contains(out.String(), errNoArguments.Error()) {
		return nil
	}
	return fmt.Errorf("this user may not make namespaces (%w %s): run as root, or allow it with "+
		"`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`", err, strings.TrimSpace(out.String()))
}

// makeTarget makes what m is mounted over, as container runtimes do.
func makeTarget(root string, m mount) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	target := filepath.Join(root, m.Target)
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

var errNoArguments = errors.New("there is nothing to run")

// becomeContainer runs in the new namespaces and replaces this process by that of the container. It returns only with
// an error.
func becomeContainer(spec string) error {
	runtime.LockOSThread() // exec keeps the attributes of this thread
	var c container
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if len(c.Args) == 0 {
		return errNoArguments
	}
	if err := c.enterRoot(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := c.giveUpRights(); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", c.Args[0], unix.Exec(c.Args[0], c.Args, c.Env))
}

// enterRoot makes c.Root the root, with the mounts in it.
func (c *container) enterRoot() error {
	if err := bind(c.Root, c.Root, false); err != nil {
		return err
	}
	for _, m := range c.Mounts {
		if err := bind(m.Source, filepath.Join(c.Root, m.Target), m.ReadOnly); err != nil {
			return err
		}
	}
	proc := filepath.Join(c.Root, "proc")
	if err := os.MkdirAll(proc, 0o555); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		fmt.Fprintln(os.Stderr, "the kernel allows no /proc in this container:", err)
	}
	if err := os.Chdir(c.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // lays the old root over the new one
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if c.ReadOnlyRoot {
		if err := makeReadOnly("/"); err != nil {
			return err
		}
	}
	return os.Chdir(filepath.Join("/", c.WorkDir))
}

func bind(source, target string, readOnly bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if readOnly {
		return makeReadOnly(target)
	}
	return nil
}

// makeReadOnly keeps the other flags of the mount, which a user namespace may not drop.
func makeReadOnly(target string) error {
	const kept = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME // = MS_*
	var fs unix.Statfs_t
	if err := unix.Statfs(target, &fs); err != nil {
		return fmt.Errorf("stat %s: %w", target, err)
	}
	flags := uintptr(fs.Flags)&kept | unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// giveUpRights becomes the user of the container.
func (c *container) giveUpRights() error {
	if c.DropCapabilities {
		for capability := uintptr(0); ; capability++ {
			err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
			if errors.Is(err, unix.EINVAL) {
				break // the kernel has no more
			}
			if err != nil {
				return fmt.Errorf("drop capability %d: %w", capability, err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(
			syscall.Setgroups([]int{}), syscall.Setresgid(c.GID, c.GID, c.GID), syscall.Setresuid(c.UID, c.UID, c.UID),
		); err != nil {
			return fmt.Errorf("become user %d: %w", c.UID, err)
		}
	}
	// The change of the user has cleared it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the node: %w", err)
	}
	if c.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}
