//! Layers and losses: embedding, recurrent, attention, norm, dropout, softmax loss.
