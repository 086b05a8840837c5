package node

// container is what the process of a Pod runs in. Its JSON is handed to the process that makes it.
type container struct {
	Hostname string
	Root     string // a folder with a copy of the image's files
	WorkDir  string
	Args     []string
	Env      []string
	UID, GID int
	Mounts   []mount
	// The limits of the Pod's securityContext.
	ReadOnlyRoot, DropCapabilities, NoNewPrivileges bool
}

// mount shows a file or folder of the machine in a container.
type mount struct {
	Source   string
	Target   string // in the container
	ReadOnly bool
}
