"""Which language a ticket is in."""

import pytest

from enrichment.tickets.languages import language_of, named


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("The printer is not working and I can't print from my laptop.", "en"),
        ("Der Drucker druckt nicht, und ich kann mich nicht anmelden.", "de"),
        ("L'imprimante ne marche pas depuis ce matin et je ne peux plus imprimer.", "fr"),
        ("La impresora no funciona desde ayer y no puedo imprimir.", "es"),
        ("A impressora não funciona desde ontem e não consigo imprimir com o meu portátil.", "pt"),
        ("プリンターが動きません。印刷できません。", "ja"),
        ("打印机无法工作", "zh"),
        ("Принтер не работает", "ru"),
        ("Принтер не працює, їх немає", "uk"),
        ("INC0010023 SAP MM01", "und"),
        ("", "und"),
    ],
)
def test_language_of(text: str, tag: str) -> None:
    """Common words and scripts tell; too little text tells nothing."""
    assert language_of(text) == tag


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("de", "German (de)"),
        ("pt-BR", "Portuguese (pt-BR)"),
        ("tlh", "the language with the BCP 47 tag tlh"),
        ("und", "the language of the ticket"),
    ],
)
def test_named(tag: str, name: str) -> None:
    """Models are told a language by its English name and its tag."""
    assert named(tag) == name
