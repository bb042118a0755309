"""
Make secrets and personal data that belong to nobody, for tests of masking.

They are drawn anew from a seed and put together from pieces, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import base64
import json
import random
import string

from stdnum import luhn
from stdnum.iso7064 import mod_97_10

_DIGITS = string.digits
_HEX = "0123456789abcdef"
_LETTERS = string.ascii_letters
_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits

# How each stands in a sentence: alone, or called by its name.
Planted = tuple[str, str, str]  # the kind, the text to plant, the part of it that must not survive


def planted(seed: int) -> list[Planted]:
    """Return one secret of each kind."""
    rng = random.Random(seed)  # noqa: S311 (nothing secret is drawn)

    def some(length: int, letters: str = _ALNUM) -> str:
        return "".join(rng.choices(letters, k=length))

    def mixed(length: int) -> str:
        """Return letters of all three sorts, as a random key of that length has."""
        body = (
            some(length - 3)
            + rng.choice(_DIGITS)
            + rng.choice(string.ascii_lowercase)
            + rng.choice(string.ascii_uppercase)
        )
        return "".join(rng.sample(body, len(body)))

    def encoded(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    card = f"4{some(14, _DIGITS)}"
    card += luhn.calc_check_digit(card)
    account = some(18, _DIGITS)
    iban = f"DE{mod_97_10.calc_check_digits(f'{account}DE')}{account}"
    azure = base64.b64encode(rng.randbytes(64)).decode()
    user, password = some(6, string.ascii_lowercase), f"{some(8)}7"
    ssn = f"{rng.randint(100, 600)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
    line, area = some(7, "23456789"), rng.choice(("212", "415", "305", "713"))
    dni = rng.randint(10_000_000, 99_999_999)
    pem = "\n".join([some(64) for _ in range(6)])
    alone = {
        "email": f"{user}.{some(5, string.ascii_lowercase)}@{some(7, string.ascii_lowercase)}.io",
        "phone": f"+49 151 {some(4, '23456789')} {some(4, _DIGITS)}",
        "phone in national form": f"({area}) {line[:3]}-{line[3:]}",
        "card": card,
        "card in groups": " ".join(card[start : start + 4] for start in range(0, 16, 4)),
        "iban": iban,
        "iban in groups": " ".join(iban[start : start + 4] for start in range(0, 22, 4)),
        "ssn": ssn,
        "national_id": f"{dni}{'TRWAGMYFPDXBNJZSQVHLCKE'[dni % 23]}",
        "aws_key": "AK" + "IA" + some(16, string.ascii_uppercase + "234567"),
        "github_token": "gh" + "p_" + some(36),
        "github_token, fine-grained": "github" + "_pat_" + some(22) + "_" + some(59),
        "gitlab_token": "gl" + "pat-" + some(20),
        "slack_token": "xo" + "xb-" + some(12, _DIGITS) + "-" + some(13, _DIGITS) + "-" + some(24),
        "webhook": "https://hooks.slack.com/services/T" + some(9, _UPPER) + "/B" + some(9, _UPPER) + "/" + some(24),
        "stripe_key": "sk_" + "live_" + some(24),
        "stripe_key of a test": "rk_" + "test_" + some(99),
        "google_key": "AI" + "za" + some(35),
        "openai_key": "sk-" + "proj-" + mixed(48),
        "openai_key of the old form": "sk-" + mixed(48),
        "anthropic_key": "sk-" + "ant-api03-" + some(93) + "AA",
        "hf_token": "hf" + "_" + some(34, _LETTERS),
        "npm_token": "np" + "m_" + some(36),
        "pypi_token": "py" + "pi-AgEIcHlwaS5vcmc" + some(150),
        "azure_key": azure,
        "sendgrid_key": "S" + "G." + some(22) + "." + some(43),
        "twilio_key": "S" + "K" + some(32, _HEX),
        "telegram_token": some(1, "123456789") + some(9, _DIGITS) + ":AA" + some(33),
        "jwt": f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': user, 'iat': rng.randint(1, 10**9)})}.{some(43)}",
        "private_key": f"-----BEGIN RSA PRIVATE{''} KEY-----\n{pem}\n-----END RSA PRIVATE{''} KEY-----",
        "url of a private network": f"http://10.{rng.randint(0, 255)}.3.7:8080/{some(6)}",
        "url of an intranet": f"https://wiki.{some(5, string.ascii_lowercase)}.internal/{some(6)}",
        "url, signed": f"https://bucket.s3.amazonaws.com/a.pdf?X-Amz-Expires=60&X-Amz-Signature={some(64, _HEX)}",
        "token of another issuer": "shp" + "at_" + some(32, _HEX),
    }
    called = {
        "aws_secret": ("aws_secret_access_key = {}", mixed(40)),
        "password": ("password: {}", password),
        "password in prose": ("my password is {}", password),
        "secret": ("api_key={}", mixed(32)),
        "secret of random letters": ("DEPLOY_SECRET='{}'", mixed(40)),
        "token of a header": ("Authorization: Bearer {}", mixed(30)),
        "url_password": (f"postgres://{user}:{{}}@db.acme.io:5432/prod", password),
        "azure_key in a connection string": ("AccountName=acme;AccountKey={};EndpointSuffix=core.windows.net", azure),
        "pin": ("my PIN is {}", some(4, _DIGITS)),
        "phone of digits alone": ("call me on {}", area + line),
        "card with a wrong digit": ("my card number is {}", str(int(card) + 1)),
    }
    return [
        *((kind, value, value) for kind, value in alone.items()),
        *((kind, said.format(value), value) for kind, (said, value) in called.items()),
    ]
