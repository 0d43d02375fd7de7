from math import isclose, sqrt

import openai
import pytest
from openai import AsyncAzureOpenAI

from local.simulator.embeddings import vector
from local.simulator.tokens import Tokenizers


def nearness(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def test_similar_texts_are_near_and_vectors_have_length_one(azure: AsyncAzureOpenAI) -> None:
    """Cosine similarity orders texts by the words they share, in the SDK's base64 form."""
    texts = ["printer on floor two broken", "the broken printer smells", "salary was paid late"]
    answer = await azure.embeddings.create(model="embed", input=texts)
    first, near, far = (entry.embedding for entry in answer.data)
    assert len(first) == 1536
    assert isclose(sqrt(nearness(first, first)), 1.0, rel_tol=1e-6)
    assert nearness(first, near) > 0.3 > nearness(first, far)


async def test_both_encodings_give_the_same_vector(azure: AsyncAzureOpenAI) -> None:
    """encoding_format float and base64 differ by no more than a 32-bit float does."""
    packed = await azure.embeddings.create(model="embed", input="printer", dimensions=64)
    plain = await azure.embeddings.create(model="embed", input="printer", dimensions=64, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)
    assert len(plain.data[0].embedding) == 64


async def test_usage_counts_texts_and_token_lists(azure: AsyncAzureOpenAI, tokenizers: Tokenizers) -> None:
    """Texts cost their tokens, token lists their length."""
    count = tokenizers.of("text-embedding-3-small").count
    texts = await azure.embeddings.create(model="embed", input=["printer broken", "again"])
    assert texts.usage.prompt_tokens == count("printer broken") + count("again")
    tokens = await azure.embeddings.create(model="embed", input=[[1, 2, 3], [4, 5]])
    assert tokens.usage.prompt_tokens == 5
    assert len(tokens.data) == 2
    assert (await azure.embeddings.create(model="embed", input=[7, 8, 9])).usage.prompt_tokens == 3


async def test_an_empty_input_is_refused(azure: AsyncAzureOpenAI) -> None:
    """No text and no list is 400."""
    with pytest.raises(openai.BadRequestError, match="input"):
        await azure.embeddings.create(model="embed", input="")


@pytest.mark.parametrize("text", ["", "   ", "the of and", "\N{SNOWMAN}", "word " * 500])
def test_any_text_has_a_unit_vector(text: str) -> None:
    """Texts without content words have a vector of length one too."""
    assert isclose(sqrt(sum(value * value for value in vector(text, 32))), 1.0, rel_tol=1e-9)
