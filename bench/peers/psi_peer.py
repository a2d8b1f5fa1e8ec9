"""Intersections by spu and openmined-psi: ``psi_peer.py spu|openmined JSON`` prints {"seconds", "count"}.

Needs nothing but these two packages. spu: two processes on loopback, from CSV to the result files of both
sides, timed from the moment both are up and connected. openmined-psi: one process plays both sides, lists
in memory.
"""

import csv
import json
import multiprocessing
import os
import socket
import sys
import time


def spu_party(rank, ports, task, results):
    from spu import libspu, psi

    libspu.logging.setup_logging(options())
    description = libspu.link.Desc()
    for number, port in enumerate(ports):
        description.add_party(f"p{number}", f"127.0.0.1:{port}")
    link = libspu.link.create_brpc(description, rank)
    link.barrier()
    started = time.perf_counter()
    side = ("left", "right")[rank]
    config = psi.PsiExecuteConfig(
        protocol_conf=psi.PsiProtocolConfig(
            protocol=psi.parse_protocol(task["protocol"]),
            receiver_rank=0,
            bucket_size=task.get("bucket", 1 << 20),
            broadcast_result=True,
            ecdh_params=psi.EcdhParams(curve=psi.parse_curve_type(task.get("curve", "")), batch_size=4096),
            rr22_params=psi.Rr22Rarams(low_comm_mode=task.get("low_communication", False)),
        ),
        input_params=psi.InputParams(path=task[side], selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(path=task[f"{side}_out"], disable_alignment=True),
    )
    report = psi.psi_execute(config, link)
    link.barrier()
    results.put((rank, time.perf_counter() - started, report.intersection_count))
    link.stop_link()


def options():
    from spu import libspu

    chosen = libspu.logging.LogOptions()
    chosen.enable_console_logger = False
    chosen.system_log_path = os.devnull
    return chosen


def spu(task):
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    parties = [context.Process(target=spu_party, args=(rank, ports, task, results)) for rank in range(2)]
    for party in parties:
        party.start()
    try:
        found = [results.get(timeout=task.get("timeout_s", 600)) for _ in parties]
    finally:
        for party in parties:
            party.join(10)
            if party.is_alive():
                party.kill()
    counts = {count for _, _, count in found}
    if len(counts) != 1:
        raise RuntimeError(f"the sides report {counts}")
    return {"seconds": max(seconds for _, seconds, _ in found), "count": counts.pop()}


def openmined(task):
    import private_set_intersection.python as psi

    def keys(path):
        with open(path, newline="") as file:
            return [row["id"] for row in csv.DictReader(file)]

    left, right = keys(task["left"]), keys(task["right"])
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    started = time.perf_counter()
    setup = server.CreateSetupMessage(1e-9, len(left), right, psi.DataStructure.RAW)
    response = server.ProcessRequest(client.CreateRequest(left))
    found = client.GetIntersection(setup, response)
    return {"seconds": time.perf_counter() - started, "count": len(found)}


if __name__ == "__main__":
    print(json.dumps({"spu": spu, "openmined": openmined}[sys.argv[1]](json.loads(sys.argv[2]))))
