// Every island enhances markup that works without it. None makes markup from strings of the server's data.
import { startAutosubmit, startCheckAll, startConfirm, startMenu } from "./islands/controls";
import { startCirculation } from "./islands/circulation";
import { startComposer } from "./islands/composer";
import { startCopy } from "./islands/copy";
import { startLive } from "./islands/live";
import { startRows } from "./islands/rows";
import { startSentence } from "./islands/sentence";

startMenu();
startCopy(document);
startAutosubmit();
startConfirm();
startCheckAll();
startRows();
startSentence();
startComposer();
startCirculation();
startLive();
