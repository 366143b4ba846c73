"""The open questions of the paper that settings answer, as `docs/open-questions.md` asks them."""

OPEN_QUESTIONS = {
    1: 'Which 128 rows is a "height of 128"?',
    2: "Linear or logarithmic magnitude?",
    3: "How are inputs normalised?",
    5: "How far apart are segments?",
    6: "How is a last or short segment filled?",
    12: "What is the first convolution of the dense models?",
    14: "Transitions: compression, and after which blocks?",
    16: "LSTM: size, direction, output?",
    22: "CNN-LSTM: which convolutions, pools, direction?",
    23: "CNN: how wide is the layer in the LSTM's place?",
    24: "Batch size, epoch limit, initialisation, weight decay?",
    25: '"Validation accuracy" of what?',
    26: "mixup: how is lambda drawn?",
    27: "mixup: with whom?",
    31: "In which unit is eps = 0.08?",
    32: "BIM: how many steps of what size?",
    37: "Which speakers validate where the paired one is small or lacks a class?",
    38: "In which precision are models trained and tested?",
    39: "Are recordings brought to one level first?",
    40: "Where is Proposed's dropout?",
    41: "Does the loss weight the classes?",
}
"""Questions by number."""
