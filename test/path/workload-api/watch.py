"""A client of the SPIFFE Workload API by PyPI's `spiffe`, as published: it says in a line of JSON each what it was given, and again after
each renewal. It ends with its standard input."""

import json
import sys

from spiffe import WorkloadApiClient, X509Source


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def serials(chain):
    return [format(one.serial_number, "x") for one in chain]


# The address is in SPIFFE_ENDPOINT_SOCKET.
with WorkloadApiClient() as client:
    context = client.fetch_x509_context()
    svid = context.default_svid
    domain = svid.spiffe_id.trust_domain
    roots = context.x509_bundle_set.get_bundle_for_trust_domain(domain)
    say(
        "context",
        id=str(svid.spiffe_id),
        svids=len(context.x509_svids),
        chain=serials(svid.cert_chain),
        roots=serials(roots.x509_authorities),
        domain=str(domain),
    )
    bundles = client.fetch_x509_bundles()
    say("bundles", domains=[str(domain)] if bundles.get_bundle_for_trust_domain(domain) else [])
    for call in (
        lambda: client.fetch_jwt_svid(audience={"ringfence"}),
        lambda: client.fetch_jwt_bundles(),
    ):
        try:
            call()
            say("permitted")
        except Exception as reason:
            say("refused", text=f"{reason} {reason.__cause__}")

source = X509Source()


def told():
    say("source", chain=serials(source.svid.cert_chain))


source.subscribe_for_updates(told)
told()
sys.stdin.read()
source.close()
