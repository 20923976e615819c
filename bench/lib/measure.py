"""One run of pgbench with its figures, and the state of the machine around it."""
import glob
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
# Latencies of this share of the transactions are logged: all would cost a fast client more than its work.
SAMPLING = {"select-only": 0.1}


def machine_busy():
    """CPU seconds that all cores have worked, those taken by other guests included."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _idle, _wait, interrupt, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + interrupt + soft + steal) / TICK


class Quiet:
    """Waits until nothing else uses the machine, within a budget for the whole benchmark."""

    LIMIT = 0.25  # cores

    def __init__(self, budget):
        self.budget = budget

    def wait(self):
        """The number of cores at work when the waiting ended."""
        while True:
            busy, start = machine_busy(), time.time()
            time.sleep(0.5)
            cores = (machine_busy() - busy) / (time.time() - start)
            if cores <= self.LIMIT or self.budget <= 0:
                return cores
            self.budget -= time.time() - start


def fdatasyncs(folder, seconds=1.5):
    """How many appended blocks of 4 KiB the disk under `folder` makes durable in a second, one after the other."""
    path, block = os.path.join(folder, "fdatasync"), b"x" * 4096
    handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        os.write(handle, block)
        os.fdatasync(handle)
        count += 1
    os.close(handle)
    os.unlink(path)
    return count / seconds


def pgbench(server, case, seconds, protocol, quiet):
    """Runs one case and gives its row. A run that fails gives a row with the reason under `failed`."""
    server.before_run()
    cores_before = quiet.wait()
    ports = server.ports if case["gateway"] == "all" else server.ports[:1]
    # The logs lie in memory: on the data's disk they would slow the servers' writes.
    logs = tempfile.mkdtemp(prefix="quorate-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        commands = []
        for index, port in enumerate(ports):
            clients = case["clients"] // len(ports) + (index < case["clients"] % len(ports))
            if clients:
                commands.append(["pgbench", *server.pgbench_address(port), "-n", "-M", protocol, "-c", str(clients), "-j", str(min(clients, 2)),
                                 "-T", str(max(1, round(seconds))), "-b", case["workload"], "--max-tries", "1000", "-l",
                                 "--log-prefix", f"{logs}/{index}", f"--sampling-rate={SAMPLING.get(case['workload'], 1)}", server.database])
        server_before, machine_before = server.cpu(), machine_busy()
        client_before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands]
        said = [process.communicate()[0] for process in running]
        ended, client_after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        time.sleep(0.3)  # PostgreSQL counts the CPU of a session's process when it has ended
        server_cpu, machine = server.cpu() - server_before, machine_busy() - machine_before
        row = dict(case, seconds=seconds, protocol=protocol, time=time.strftime("%Y-%m-%dT%H:%M:%S"), cores_before=round(cores_before, 2))
        if any(process.returncode for process in running):
            return dict(row, failed=" ".join(said)[-600:].strip())
        return dict(row, **figures(said, logs, server_cpu, machine, client_before, client_after, ended - start))
    finally:
        shutil.rmtree(logs, ignore_errors=True)


def figures(said, logs, server_cpu, machine, client_before, client_after, elapsed):
    def total(pattern, kind=int, default=None):
        found = [re.search(pattern, text) for text in said]
        if default is not None:
            return sum(kind(match[1]) if match else default for match in found)
        return sum(kind(match[1]) for match in found)

    transactions = total(r"actually processed: (\d+)")
    latencies = sorted(latency for path in glob.glob(f"{logs}/*") for latency in logged(path))
    client_cpu = client_after.ru_utime + client_after.ru_stime - client_before.ru_utime - client_before.ru_stime
    at = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))] if latencies else None
    per_thousand = lambda cpu: round(cpu * 1000 / transactions, 4) if transactions else None
    return {
        "transactions": transactions,
        "tps": total(r"tps = ([\d.]+) \(without", float),
        "failed_transactions": total(r"failed transactions: (\d+)", default=0),
        "retried_transactions": total(r"transactions retried: (\d+)", default=0),
        "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": latencies[-1] if latencies else None,
        "server_cpu_per_1000": per_thousand(server_cpu),
        "client_cpu_per_1000": per_thousand(client_cpu),
        "server_cores": round(server_cpu / elapsed, 2),
        "other_cores": round((machine - server_cpu - client_cpu) / elapsed, 2),
    }


def logged(path):
    """Latencies in milliseconds; a failed transaction has a word in its place."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if len(fields) > 2 and fields[2].isdigit():
                yield int(fields[2]) / 1000
