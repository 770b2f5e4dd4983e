/**
 * Sets the catalogue of the session's person for the scripts. Python puts it before the bundle (`widgets/assets.py`); a
 * widget's script imports this first, since texts are read on import.
 */
/* global FACTORYGATE_TEXTS */

import { readCatalogue, use } from "../common/translate.js";

use(readCatalogue(FACTORYGATE_TEXTS));
