/** The extension of a factorygate session for JupyterLab and Notebook. Each part is a plugin that can be disabled. */

import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import { ILauncher } from "@jupyterlab/launcher";
import { IStatusBar } from "@jupyterlab/statusbar";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { notebookIcon } from "@jupyterlab/ui-components";

import { use } from "../../frontend/common/translate.js";
import { Actions, IActions } from "./actions.js";
import { keepComms } from "./comms.js";
import { KEPT, KeptRenderer } from "./kept.js";
import { Panel } from "./panel.js";
import { Shown } from "./shown.js";
import { Status } from "./status.js";
import { Steps } from "./steps.js";
import { Toasts } from "./toasts.js";
import { SessionWatch, Watch } from "./watch.js";
import { words } from "./words.js";

const OPEN = "factorygate:show-sessions";
const EXAMPLES = "factorygate:examples";
const BEFORE_WIDGETS = -20; // rank; Jupyter's own widgets have -10
const RIGHT_OF_ALL = 900; // rank
const NARROW = "(max-width: 600px)"; // the side bar would leave too little for a notebook

const watching: JupyterFrontEndPlugin<Watch> = {
  id: "factorygate-lab:watch",
  description: "Asks the notebook server how its session stands.",
  autoStart: true,
  provides: Watch,
  activate: (app: JupyterFrontEnd) => {
    const watch = new SessionWatch(app.serviceManager.serverSettings);
    void app.restored.then(() => {
      watch.start();
    });
    return watch;
  },
};

const acting: JupyterFrontEndPlugin<Actions> = {
  id: "factorygate-lab:actions",
  description: "Commands: save all, more time, start again, download the folder of the class.",
  autoStart: true,
  provides: IActions,
  requires: [Watch, IDocumentManager],
  optional: [ITranslator, ICommandPalette],
  activate: async (
    app: JupyterFrontEnd,
    watch: Watch,
    documents: IDocumentManager,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
  ) => {
    const { languageCode } = translator ?? nullTranslator;
    use(await watch.catalogue(languageCode));
    const actions = new Actions(watch, app.shell, documents, words);
    const here = (): boolean => watch.overview !== null;
    const { commands } = app;
    commands.addCommand("factorygate:save-all", { label: words.saveAll, isVisible: here, execute: () => actions.save() });
    commands.addCommand("factorygate:more-time", {
      label: words.moreTime, isVisible: here, isEnabled: () => actions.room > 0, execute: () => actions.more(),
    });
    commands.addCommand("factorygate:start-again", {
      label: words.startAgain, isVisible: here, isEnabled: () => actions.canStartAgain, execute: () => actions.again(),
    });
    commands.addCommand("factorygate:export", {
      label: words.exportWork, isVisible: () => Boolean(actions.folder), execute: () => actions.exportWork(),
    });
    for (const command of ["factorygate:save-all", "factorygate:more-time", "factorygate:start-again", "factorygate:export"]) {
      palette?.addItem({ command, category: words.title });
    }
    const { help } = actions;
    for (const [command, label, isEnabled, execute] of [
      ["factorygate:raise-hand", words.raiseHand, () => help.now?.open === true, () => help.raise()],
      ["factorygate:lower-hand", words.lowerHand, () => Boolean(help.now?.hand), () => help.lower()],
      ["factorygate:allow-look", words.allowLook, () => help.now?.open === true, () => help.allowLook()],
      ["factorygate:end-look", words.endLook, () => Boolean(help.now?.look), () => help.endLook()],
    ] as const) {
      commands.addCommand(command, { label, isVisible: () => help.now !== null, isEnabled, execute });
      palette?.addItem({ command, category: words.title });
    }
    return actions;
  },
};

const panel: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:panel",
  description: "The person's sessions and clusters, in the left side bar.",
  autoStart: true,
  requires: [Watch, IActions],
  activate: (app: JupyterFrontEnd, watch: Watch, actions: Actions) => {
    const side = new Panel(watch, actions);
    app.commands.addCommand(OPEN, {
      label: actions.words.showPanel,
      execute: () => {
        app.shell.activateById(side.id);
      },
    });
    const begin = (): void => {
      if (watch.overview === null) return; // a server without a door has nothing to show
      watch.changed.disconnect(begin);
      app.shell.add(side, "left", { rank: RIGHT_OF_ALL });
    };
    watch.changed.connect(begin);
  },
};

const status: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:status",
  description: "Where the session is, how long it has, and what it uses, in the status bar; in Notebook, at the top.",
  autoStart: true,
  requires: [Watch, IActions],
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, watch: Watch, actions: Actions, bar: IStatusBar | null) => {
    const open = (): void => {
      if (app.commands.hasCommand(OPEN)) void app.commands.execute(OPEN);
    };
    const item = new Status(watch, actions.words, open);
    if (bar) bar.registerStatusItem("factorygate-lab:status", { item, align: "left", rank: RIGHT_OF_ALL });
    else app.shell.add(item, "top", { rank: RIGHT_OF_ALL });
  },
};

const toasts: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:toasts",
  description: "Says that the session's end is near, and messages of the gateway.",
  autoStart: true,
  requires: [Watch, IActions],
  activate: (_: JupyterFrontEnd, watch: Watch, actions: Actions) => {
    new Toasts(watch, actions, new Shown(window.localStorage));
  },
};

const examples: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:examples",
  description: "A card of the launcher that opens the example notebooks.",
  autoStart: true,
  requires: [Watch, IActions],
  optional: [ILauncher, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    watch: Watch,
    actions: Actions,
    launcher: ILauncher | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
  ) => {
    const { words } = actions;
    app.commands.addCommand(EXAMPLES, {
      label: words.examples, caption: words.examplesLong, icon: notebookIcon,
      isVisible: () => watch.overview !== null, execute: () => actions.examples(),
    });
    palette?.addItem({ command: EXAMPLES, category: words.title });
    const begin = (): void => {
      if (watch.overview === null) return;
      watch.changed.disconnect(begin);
      void app.serviceManager.ready.then(() => // the kernels' cards exist then
        launcher?.add({
          command: EXAMPLES,
          // Jupyter's own category, beside its cards
          category: (translator ?? nullTranslator).load("jupyterlab").__("Notebook"),
          // no other icon is shown there
          kernelIconUrl: `data:image/svg+xml,${encodeURIComponent(notebookIcon.svgstr)}`,
        }));
    };
    watch.changed.connect(begin);
  },
};

const widgets: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:widgets",
  description: "Shows the last state of a widget whose kernel is gone, as text.",
  autoStart: true,
  requires: [IRenderMimeRegistry, IActions],
  activate: (app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, { words }: Actions) => {
    rendermime.addFactory(
      { safe: true, mimeTypes: [KEPT], createRenderer: () => new KeptRenderer(app, words) }, BEFORE_WIDGETS);
  },
};

const steps: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:steps",
  description: "Tells the people who run a workshop which steps of its notebooks were done.",
  autoStart: true,
  requires: [Watch],
  activate: (app: JupyterFrontEnd, watch: Watch) => {
    const followed = new Steps(watch);
    app.docRegistry.addWidgetExtension("Notebook", { createNew: (_, context) => followed.follow(context) });
  },
};

const comms: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:comms",
  description: "Shows the widgets of a notebook also if a cell ran while the notebook was opened.",
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    app.docRegistry.addWidgetExtension("Notebook", { createNew: (_, { sessionContext }) => keepComms(sessionContext) });
  },
};

const narrow: JupyterFrontEndPlugin<void> = {
  id: "factorygate-lab:narrow",
  description: "Closes the left side bar of a narrow window once, when JupyterLab has loaded.",
  autoStart: true,
  optional: [ILabShell],
  activate: (app: JupyterFrontEnd, shell: ILabShell | null) => {
    if (!shell || !window.matchMedia(NARROW).matches) return;
    // in the next frame, since JupyterLab opens its file browser at the same moment
    void app.restored.then(() => requestAnimationFrame(() => { shell.collapseLeft(); }));
  },
};

export default [watching, acting, panel, status, toasts, examples, widgets, comms, steps, narrow];
