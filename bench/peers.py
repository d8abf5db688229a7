"""Other programs that watch processes, started and stopped the same way for all.

Each writes what it reports to a file. Each is a class with

    name        as it stands in tables
    package     the Debian package that has it
    missing()   why it cannot run here, or None
    start(dir)  returns when it reports events (shown with a process that it must report)
    pids()      of the processes that do its work
    stop()      ends it
    finish()    after the last stop: leaves the machine as it was
"""
import os
import shutil
import signal
import subprocess
import time

PATIENCE = 30  # seconds until a peer that reports nothing counts as failed


class PeerFailure(Exception):
    """A peer did not start or reports nothing."""


class Peer:
    name = ""
    package = ""
    program = ""

    def __init__(self, canary):
        """`canary` starts processes that a running peer must report, enough to fill its output
        buffer, and returns a text that the report has in it."""
        self.canary = canary
        self.process = None
        self.output = None

    def missing(self):
        if shutil.which(self.program) is None:
            return f"not installed (package {self.package})"
        return None

    def command(self, directory):
        raise NotImplementedError

    def output_path(self, directory):
        return os.path.join(directory, "output")

    def prepare(self, directory):
        pass

    def restore(self):
        pass

    def start(self, directory):
        self.output = self.output_path(directory)
        self.prepare(directory)
        with open(os.path.join(directory, "stdout"), "wb") as stdout, \
                open(os.path.join(directory, "stderr"), "wb") as stderr:
            self.process = subprocess.Popen(self.command(directory), stdin=subprocess.DEVNULL,
                                            stdout=stdout, stderr=stderr)
        self.started()
        self.wait_for_canary(os.path.join(directory, "stderr"))

    def started(self):
        pass

    def wait_for_canary(self, stderr_path):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                with open(stderr_path, errors="replace") as file:
                    raise PeerFailure(f"it ended at once: {file.read()[-300:].strip()}")
            text = self.canary()
            time.sleep(0.2)
            if self.reports(text):
                return
        raise PeerFailure("it reports nothing")

    def reports(self, text):
        try:
            with open(self.output, "rb") as file:
                return text.encode() in file.read()
        except FileNotFoundError:
            return False

    def pids(self):
        return [self.process.pid]

    def finish(self):
        pass

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        self.restore()


class Tracer(Peer):
    """Needs the kernel's tracing file systems: mounted while it runs, where they are not."""

    mounts = (("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing"))

    def __init__(self, canary):
        super().__init__(canary)
        self.mounted = []

    def prepare(self, directory):
        with open("/proc/self/mounts") as file:
            present = {line.split()[1] for line in file}
        for kind, place in self.mounts:
            if place not in present and subprocess.run(["mount", "-t", kind, kind, place],
                                                       check=False).returncode == 0:
                self.mounted.append(place)

    def restore(self):
        while self.mounted:
            subprocess.run(["umount", self.mounted.pop()], check=False)


class Execsnoop(Tracer):
    """libbpf-tools' execsnoop: exec only, a reader that is woken for each event."""

    name = "execsnoop (libbpf-tools)"
    package = "libbpf-tools"
    program = "execsnoop"

    def output_path(self, directory):
        return os.path.join(directory, "stdout")

    def command(self, directory):
        return ["execsnoop", "--max-args", "20"]


class Forkstat(Peer):
    """The kernel's process connector, and /proc for what it does not tell."""

    name = "forkstat"
    package = "forkstat"
    program = "forkstat"

    def output_path(self, directory):
        return os.path.join(directory, "stdout")

    def command(self, directory):
        return ["forkstat", "-e", "exec,exit"]


BPFTRACE = """
tracepoint:syscalls:sys_enter_execve { printf("%d %d ", pid, uid); join(args->argv); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\\n", pid, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d\\n", pid); }
"""


class Bpftrace(Tracer):
    name = "bpftrace"
    package = "bpftrace"
    program = "bpftrace"

    def output_path(self, directory):
        return os.path.join(directory, "stdout")

    def command(self, directory):
        return ["bpftrace", "-e", BPFTRACE]


class Auditd(Peer):
    """auditd with its rules for execve and exit, a log of its own, and nothing lost: the kernel makes the
    watched processes wait (backlog).

    Once auditing was enabled, every new process pays for it until the machine starts anew, unless a rule
    says "never,task". So that rule stands between two runs, and auditd is measured last."""

    name = "auditd"
    package = "auditd"
    program = "auditd"

    def __init__(self, canary):
        super().__init__(canary)
        self.before = {}
        self.rules = []
        self.config = None

    @staticmethod
    def control(*arguments):
        return subprocess.run(["auditctl", *arguments], capture_output=True, text=True, check=False)

    def status(self):
        pairs = (line.split() for line in self.control("-s").stdout.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def missing(self):
        reason = super().missing()
        if reason is not None:
            return reason
        status = self.status()
        if "pid" not in status:
            return "the kernel's audit system cannot be read"
        if status["pid"] != "0":
            return "an audit daemon runs already, and is not disturbed"
        if status.get("enabled") == "2":
            return "the audit configuration is locked"
        return None

    def output_path(self, directory):
        return os.path.join(directory, "audit.log")

    def remember(self):
        if not self.before:
            self.before = self.status()
            listed = self.control("-l").stdout.splitlines()
            self.rules = [line for line in listed if line.startswith("-")]

    def prepare(self, directory):
        self.remember()
        config = os.path.join(directory, "config")
        os.makedirs(os.path.join(config, "plugins.d"), exist_ok=True)
        with open(os.path.join(config, "auditd.conf"), "w") as file:
            file.write(f"log_file = {self.output}\nlog_format = ENRICHED\nwrite_logs = yes\n"
                       "flush = INCREMENTAL_ASYNC\nfreq = 50\nlog_group = root\n"
                       "max_log_file = 4096\nnum_logs = 0\nmax_log_file_action = IGNORE\n"
                       "space_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\n"
                       "admin_space_left_action = IGNORE\ndisk_full_action = SUSPEND\n"
                       "disk_error_action = SUSPEND\nname_format = NONE\n"
                       f"plugin_dir = {config}/plugins.d\nlocal_events = yes\n")
        os.chmod(os.path.join(config, "auditd.conf"), 0o600)
        self.config = config

    def command(self, directory):
        return ["auditd", "-n", "-c", self.config]

    def started(self):
        deadline = time.monotonic() + PATIENCE
        while self.status().get("pid") != str(self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PeerFailure("auditd did not take over the audit system")
            time.sleep(0.05)
        self.control("-D")
        self.control("-b", "8192")
        self.control("--backlog_wait_time", "60000")
        self.control("-r", "0")
        self.control("-e", "1")
        for calls in (["-S", "execve"], ["-S", "exit", "-S", "exit_group"]):
            result = self.control("-a", "always,exit", "-F", "arch=b64", *calls)
            if result.returncode != 0:
                raise PeerFailure(f"a rule was refused: {result.stderr.strip()}")

    def pids(self):
        found = [self.process.pid]
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/comm") as file:
                        if file.read().strip() == "kauditd":
                            found.append(int(name))
                except OSError:
                    pass  # it ended
        return found

    def restore(self):
        self.control("-D")
        self.control("-a", "never,task")

    def finish(self):
        self.control("-D")
        for key, option in (("backlog_limit", "-b"), ("backlog_wait_time", "--backlog_wait_time"),
                            ("rate_limit", "-r"), ("enabled", "-e")):
            if key in self.before:
                self.control(option, self.before[key])
        for rule in self.rules:
            self.control(*rule.split())


PEERS = {"execsnoop": Execsnoop, "forkstat": Forkstat, "bpftrace": Bpftrace, "auditd": Auditd}
