"""How Vapi is asked for its server messages; tests/agreement compares it with the schema."""

from relay.wire.vapi_server import webhook_server
from relay.wire.webhook_auth import WebhookRules


def test_a_webhook_is_shown_to_be_vapi_s_by_a_header_or_by_a_credential_of_theirs() -> None:
    by_secret = webhook_server("https://r.example/e", WebhookRules(), "new", answer_s=8)
    by_hmac = webhook_server("https://r.example/e", WebhookRules(auth="hmac", credential_id="c"), "new", answer_s=60)

    assert by_secret["headers"] == {"x-vapi-secret": "new"}
    assert (by_hmac["credentialId"], "headers" in by_hmac) == ("c", False)
    assert (by_secret["timeoutSeconds"], by_hmac["timeoutSeconds"]) == (20, 65)
