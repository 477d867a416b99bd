"""`python -m goldengrain_enclave`: the enclave process."""

import os
import sys

# before numpy loads: the enclave computes small sums itself and leaves the processors to the model child
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from goldengrain_enclave.entry import main

sys.exit(main())
