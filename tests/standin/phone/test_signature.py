"""A signature is the one that Twilio publishes, and covers all that was signed."""

from relay.standin.phone.signature import sign

# The published example of Twilio's own libraries.
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}


def test_a_form_is_signed_as_in_the_published_example() -> None:
    assert sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", FORM) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_the_url_and_every_value_count() -> None:
    base = sign("12345", "wss://h/m")
    assert base != sign("12345", "https://h/m")
    assert base != sign("12345", "wss://h/m", {"a": "b"})
    assert base != sign("54321", "wss://h/m")
