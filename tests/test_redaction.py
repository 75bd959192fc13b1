"""Texts without secrets."""

from __future__ import annotations

import pytest

from opendalfs.errors import redact


@pytest.mark.parametrize(
    "text",
    [
        "https://acct.blob.core.windows.net/box?sv=2022&sig=HUSH%3D&se=1",
        "http://host/k?X-Amz-Signature=HUSH&X-Amz-Date=1",
        "http://host/k?X-Amz-Credential=HUSH/2026/us-east-1&x=1",
        "http://host/k?X-Amz-Security-Token=HUSH",
        "http://me:HUSH@host/k",
        "redis://:HUSH@host/0",
        'headers: {"x-token": "HUSH"}',
        "password=HUSH",
        "given hush-hush-HUSH here",
        'headers: {"authorization": "Bearer HUSH"}',
        "Authorization: Basic HUSH",
        "{'SecretAccessKey': 'HUSH HUSH', 'aws_secret_access_key': b'HUSH', 'aws_access_key_id': \"HUSH\"}",
        r'body: "{\"access_token\": \"HUSH, HUSH\"}"',
        "AccountName=a;AccountKey=HUSH==;EndpointSuffix=core.windows.net",
        'private_key: "-----BEGIN RSA PRIVATE KEY-----\\nHUSH\\n-----END RSA PRIVATE KEY-----\\n"',
        "-----BEGIN PRIVATE KEY-----\nHUSH\nHUSH",
        "password= HUSH",
        "password = hush-HUSH",
        "password= 'HUSH'",
        "token=.HUSH",
    ],
)
def test_secrets_are_cut_out_of_texts(text: str) -> None:
    assert "HUSH" not in redact(text, ["hush-hush-HUSH"])


def test_texts_without_secrets_stay_as_they_are() -> None:
    text = "NotFound at read => uri: http://host:80/lake/token.txt?prefix=a&key=b"
    text += "\nthe options access_key_id, secret_access_key and the private key (absent)\nmonkey=1/keyword=2"
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "secret_access_key= without access_key_id=: pass both, as OpenDAL would use other credentials",
        "pass account_key=, sas_token= or anon=True, or unset X",
        "pass key=, secret= and token=\nIt does not assume roles",
        "pass token= with a key file, or token=.",
    ],
)
def test_sentences_about_options_stay_as_they_are(text: str) -> None:
    assert redact(text) == text
