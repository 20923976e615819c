"""The two servers under comparison: each is started, loaded, and stopped here, and knows its processes and its gateways."""
import glob
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time


def free_ports(count):
    """First of `count` consecutive ports that nobody listens on, below the range that the system hands out."""
    for first in range(15000, 32000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    sys.exit("no free ports")


def processes():
    """Process id -> (parent, CPU seconds used, those of children waited for included)."""
    found, tick = {}, os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                    text = file.read()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2:].split()
            found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / tick)
    return found


class Server:
    """What both have in common. `ports` are the gateways; `roots` the processes whose trees make up the server."""

    name, user, database, ports, roots = "", "", "", [], []

    def tree(self):
        """The processes of all roots and what descends from them, with their CPU seconds."""
        found = processes()
        children = {}
        for pid, (parent, _) in found.items():
            children.setdefault(parent, []).append(pid)
        todo, tree = [root for root in self.roots if root in found], {}
        while todo:
            pid = todo.pop()
            if pid not in tree:
                tree[pid] = found[pid][1]
                todo += children.get(pid, [])
        return tree

    def cpu(self):
        """CPU seconds used so far by all processes, ended ones included."""
        return sum(self.tree().values())

    def resident_mib(self):
        """Largest resident memory of one process, in MiB. PostgreSQL's shared memory counts in each process that touched it."""
        largest = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    largest = max(largest, int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]))
            except (OSError, TypeError):
                continue
        return largest / 1024

    def pgbench_address(self, port):
        return ["-h", "127.0.0.1", "-p", str(port), "-U", self.user]

    def load(self, scale):
        """Fills pgbench's tables, and says how many seconds it took."""
        start = time.time()
        run(["pgbench", *self.pgbench_address(self.ports[0]), "-i", "-q", "-I", self.steps, "-s", str(scale), self.database])
        return time.time() - start

    def sql(self, text, database=None):
        address = ["-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", self.user, "-d", database or self.database]
        return run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address, "-c", text]).strip()

    def before_run(self):
        """Puts the server into the same state before each run."""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout


class Quorate(Server):
    """A grid as `quorate demo` makes it."""

    name, user, database, steps = "quorate", "quorate", "demo", "dtpg"

    def __init__(self, program, folder, instances, replica_sets):
        self.program, self.folder, self.instances, self.replica_sets = program, folder, instances, replica_sets
        self.process = None

    def start(self):
        base = free_ports(20)
        self.ports = list(range(base, base + self.instances))
        command = [self.program, "demo", "--no-shell", "--data", self.folder, "--base-port", str(base),
                   "--instances", str(self.instances), "--replica-sets", str(self.replica_sets)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.roots = [self.process.pid]
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise RuntimeError(f"{' '.join(command)} ended before it was ready")

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self.process = None


class Postgres(Server):
    """A primary and two streaming standbys; a commit waits for the flush on the primary and on one of the two."""

    name, user, database, steps = "postgres", "postgres", "bench", "dtgvp"
    # Durability is never loosened; sizes are such that no checkpoint falls into a run.
    settings = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 512MB
min_wal_size = 1GB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_keep_size = 1GB
wal_level = replica
max_wal_senders = 10
hot_standby = on
fsync = on
full_page_writes = on
synchronous_commit = on
"""

    def __init__(self, folder):
        self.folder = folder
        self.nodes = [os.path.join(folder, name) for name in ("primary", "s1", "s2")]
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
        self.programs = found[-1] if found else os.path.dirname(shutil.which("initdb") or "")
        if not self.programs:
            sys.exit("PostgreSQL is missing: scripts/install-prerequisites bench")
        self.started = []

    def own(self, program, *arguments):
        """Runs one of PostgreSQL's programs, which refuse to run as root, as `postgres` then. Their output goes to a file: a server
        started by one of them keeps a pipe open."""
        command = [os.path.join(self.programs, program), *arguments]
        options = {"cwd": self.folder}
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            options.update(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
        path = os.path.join(self.folder, "commands.log")
        with open(path, "a", encoding="utf-8") as log:
            if subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options).returncode:
                with open(path, encoding="utf-8") as written:
                    raise RuntimeError(f"{' '.join(command)}: {written.read()[-800:]}")

    def start(self):
        first = free_ports(3)
        os.makedirs(self.folder, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        primary, *standbys = self.nodes
        self.own("initdb", "-D", primary, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self.configure(primary, self.settings + f"port = {first}\n")
        with open(os.path.join(primary, "pg_hba.conf"), "a", encoding="utf-8") as access:
            access.write("host replication postgres 127.0.0.1/32 trust\n")
        self.start_node(primary)
        self.ports = [first]
        for number, standby in enumerate(standbys, 1):
            self.own("pg_basebackup", "-D", standby, "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", str(first), "-U", "postgres")
            upstream = f"host=127.0.0.1 port={first} user=postgres application_name=s{number}"
            self.configure(standby, f"port = {first + number}\nprimary_conninfo = '{upstream}'\n")
            open(os.path.join(standby, "standby.signal"), "w", encoding="utf-8").close()
        self.sql("alter system set synchronous_standby_names = 'ANY 1 (s1,s2)'", "postgres")
        self.sql("select pg_reload_conf()", "postgres")
        for standby in standbys:
            self.start_node(standby)
        self.wait_streaming()
        self.sql("create database bench", "postgres")
        self.roots = [int(open(os.path.join(node, "postmaster.pid"), encoding="utf-8").readline()) for node in self.nodes]

    def configure(self, node, text):
        with open(os.path.join(node, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(text)

    def start_node(self, node):
        self.own("pg_ctl", "-D", node, "-l", node + ".log", "-w", "-t", "60", "start")
        self.started.append(node)

    def wait_streaming(self):
        question = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = 'quorum'"
        until = time.time() + 60
        while self.sql(question, "postgres") != "2":
            if time.time() > until:
                raise RuntimeError("PostgreSQL's standbys do not stream")
            time.sleep(0.2)

    def before_run(self):
        self.sql("checkpoint")

    def stop(self):
        # The primary first: it waits for its standbys to have everything.
        for node in self.started:
            try:
                self.own("pg_ctl", "-D", node, "-m", "fast", "-w", "-t", "60", "stop")
            except RuntimeError as error:
                print(error, file=sys.stderr)
        self.started = []
