"""Canonical names of emotions."""

from .names import plain_name

_SYNONYMS = {
    "angry": ("anger", "ang", "mad"),  # mad, scared, joyful: EmoryNLP
    "bored": ("boredom",),
    "calm": ("calmness",),
    "disgust": ("disgusted", "dis"),
    "fearful": ("fear", "fea", "anxiety", "scared"),
    "frustrated": ("frustration", "fru"),
    "happy": ("happiness", "hap", "joy", "joyful", "excited", "excitement", "exc"),  # excited: paper 4.1
    "neutral": ("neu",),
    "sad": ("sadness",),
    "surprised": ("surprise", "sur"),
}
_CANONICAL = {synonym: emotion for emotion, synonyms in _SYNONYMS.items() for synonym in synonyms}


def canonical_emotion(text: str) -> str:
    """Return the canonical name of an emotion; an unknown one is its own name, in lower case.

    Example:
        >>> canonical_emotion("Anger"), canonical_emotion(" Very Proud ")
        ('angry', 'very proud')
    """
    name = plain_name(text).lower()
    return _CANONICAL.get(name, name)
