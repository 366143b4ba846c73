"""Citations and licences of published corpora, which models trained on them carry along."""

from collections.abc import Mapping
from dataclasses import dataclass

from .base import Corpus


@dataclass(frozen=True, slots=True)
class Attribution:
    """Origin of a published corpus.

    Attributes:
        citation: The paper that describes the corpus.
        licence: Terms of use, as their publishers state them.
        audio_may_be_shared: Whether recordings may be passed on, for example within a report.
        page: Address of the corpus, empty where it is not known.
    """

    citation: str
    licence: str
    audio_may_be_shared: bool = True
    page: str = ""


ATTRIBUTIONS: Mapping[str, Attribution] = {
    "emodb": Attribution(
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: A Database of German Emotional Speech. "
        "Interspeech 2005, pages 1517-1520",
        "CC BY 4.0, as the toolkit nkululeko of its first author lists it",
        page="http://emodb.bilderbar.info",
    ),
    "ravdess": Attribution(
        "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
        "PLoS ONE 13(5), e0196391, 2018",
        "CC BY-NC-SA 4.0",
        page="https://zenodo.org/records/1188976",
    ),
    "iemocap": Attribution(
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan: "
        "IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and Evaluation 42, 2008",
        "licence agreement with the University of Southern California, for research",
        audio_may_be_shared=False,
        page="https://sail.usc.edu/iemocap/",
    ),
    "msp-improv": Attribution(
        "C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost: MSP-IMPROV: An Acted "
        "Corpus of Dyadic Interactions to Study Emotion Perception. IEEE Transactions on Affective Computing 8, 2017",
        "licence agreement with the University of Texas at Dallas, for research",
        audio_may_be_shared=False,
        page="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html",
    ),
    "msp-podcast": Attribution(
        "R. Lotfian, C. Busso: Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech "
        "From Existing Podcast Recordings. IEEE Transactions on Affective Computing 10, 2019",
        "licence agreement with the University of Texas at Dallas, for research",
        audio_may_be_shared=False,
        page="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    ),
    "crema-d": Attribution(
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-Sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5, 2014",
        "Open Database License 1.0",
        page="https://github.com/CheyneyComputerScience/CREMA-D",
    ),
    "savee": Attribution(
        "S. Haq, P. J. B. Jackson: Multimodal Emotion Recognition. In: Machine Audition: Principles, Algorithms and "
        "Systems, IGI Global, 2010",
        "registration with the University of Surrey",
        audio_may_be_shared=False,
        page="http://kahlan.eps.surrey.ac.uk/savee/",
    ),
    "emovo": Attribution(
        "G. Costantini, I. Iaderola, A. Paoloni, M. Todisco: EMOVO Corpus: an Italian Emotional Speech Database. "
        "LREC 2014",
        "not known",
        audio_may_be_shared=False,
    ),
    "meld": Attribution(
        "S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea: MELD: A Multimodal Multi-Party Dataset "
        "for Emotion Recognition in Conversations. ACL 2019",
        "recordings of a television series",
        audio_may_be_shared=False,
        page="https://github.com/declare-lab/MELD",
    ),
}
"""Attributions by name of the reader. Generated stand-ins and corpora of users have none."""

_IN_MELDS_FORM = Attribution("", "not known", audio_may_be_shared=False)
"""Corpora in MELD's form under other names. Their licences are not known here, so their audio is not shared."""

LICENCE_PAGES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "Open Database License 1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
}
"""Addresses of published licences."""


def attribution_of(corpus: Corpus) -> Attribution | None:
    """Return the attribution of a corpus, or None where it is not known or the audio is generated.

    A corpus in MELD's form that is not MELD has no citation, and its audio is not shared.
    """
    if corpus.synthetic:
        return None
    if corpus.name == "meld" and corpus.expected is None:
        return _IN_MELDS_FORM
    return ATTRIBUTIONS.get(corpus.name)
