// TensorFlow 2.21 logs through Abseil, which writes every line to stderr and reads no environment. On processors where oneDNN
// is on by default that is a note at every start, from inside the library's own initialisation, before any call could silence
// it. The loader looks symbols up here first, so Abseil asks this function for its least level: TF_CPP_MIN_LOG_LEVEL, as
// TensorFlow has always read it (0 everything, 1 warnings, 2 errors, 3 fatal). Abseil puts its release into its names; a
// library with another release does not see this function, and only says more.
#include <cstdlib>

extern "C" __attribute__((visibility("default"))) int minillmMinLogLevel() __asm__(
    "_ZN4absl12lts_2025081411MinLogLevelEv");

int minillmMinLogLevel() {
  const char* level = std::getenv("TF_CPP_MIN_LOG_LEVEL");
  return level ? std::atoi(level) : 0;
}
