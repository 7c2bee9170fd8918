"""Calls the daemon with the client that was generated from its OpenAPI document.

tests/http/document.rs generates the client as the package sync_client, and runs this.
"""

import os

from sync_client import AuthenticatedClient, Client
from sync_client.api.contacts import list_log, show_contact, sync_batch, sync_contact
from sync_client.api.held import list_held, retry_held
from sync_client.api.walks import list_runs
from sync_client.api.watch import show_health, show_root
from sync_client.models import BatchRequest, ContactRequest, ProblemBody, RetryRequest

base, keap_id = os.environ["BASE"], int(os.environ["KEAP_ID"])
client = AuthenticatedClient(base_url=base, token=os.environ["API_TOKEN"], timeout=30)

synced = sync_contact.sync(client=client, body=ContactRequest(keap_contact_id=keap_id))
assert synced.success and synced.keap_contact_id == keap_id, synced
assert synced.intercom_contact.external_id == str(keap_id), synced

batch = sync_batch.sync(client=client, body=BatchRequest(keap_contact_ids=[keap_id, 999_999]))
assert (batch.total, batch.succeeded, batch.failed) == (2, 1, 1), batch

known = show_contact.sync(keap_id, client=client)
assert known.link.intercom_contact_id == synced.intercom_contact_id, known
assert list_log.sync(client=client, keap_contact_id=keap_id).log, "the log has no row"
assert list_held.sync(client=client).held == []
assert list_runs.sync(client=client, limit=1).success

missing = sync_contact.sync(client=client, body=ContactRequest(keap_contact_id=999_999))
assert isinstance(missing, ProblemBody) and missing.code == "not_in_keap", missing
refused = retry_held.sync(client=client, body=RetryRequest())
assert isinstance(refused, ProblemBody) and refused.code == "invalid_body", refused
stranger = list_held.sync(client=AuthenticatedClient(base_url=base, token="wrong"))
assert isinstance(stranger, ProblemBody) and stranger.code == "unauthorized", stranger

anybody = Client(base_url=base)
assert show_health.sync(client=anybody).status == "healthy"
assert show_root.sync(client=anybody).name == "keap-intercom-sync"
print("the generated client works")
