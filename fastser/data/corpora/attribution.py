"""Citations and licences of published corpora, which models trained on them carry along."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribution:
    """Origin of a published corpus.

    Attributes:
        citation: The paper that describes the corpus.
        licence: Terms of use, as their publishers state them.
    """

    citation: str
    licence: str


ATTRIBUTIONS: Mapping[str, Attribution] = {
    "emodb": Attribution(
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: A Database of German Emotional Speech. "
        "Interspeech 2005, pages 1517-1520",
        "CC BY 4.0, as the toolkit nkululeko of its first author lists it",
    ),
    "ravdess": Attribution(
        "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
        "PLoS ONE 13(5), e0196391, 2018",
        "CC BY-NC-SA 4.0",
    ),
    "iemocap": Attribution(
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan: "
        "IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and Evaluation 42, 2008",
        "licence agreement with the University of Southern California, for research",
    ),
    "msp-improv": Attribution(
        "C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost: MSP-IMPROV: An Acted "
        "Corpus of Dyadic Interactions to Study Emotion Perception. IEEE Transactions on Affective Computing 8, 2017",
        "licence agreement with the University of Texas at Dallas, for research",
    ),
}
"""Attributions by name of the reader. Generated stand-ins and corpora of users have none."""
