// The theme that was chosen in Airflow's own pages, of the same origin; without one the system's is taken.
(function () {
  "use strict";
  function show() {
    var chosen = null;
    try {
      chosen = window.localStorage.getItem("theme");
    } catch (error) {
      // Storage is closed to pages: the system's theme it is.
    }
    if (chosen === "light" || chosen === "dark") {
      document.documentElement.dataset.theme = chosen;
    } else {
      delete document.documentElement.dataset.theme;
    }
  }
  show();
  // Airflow's page around this one may change it.
  window.addEventListener("storage", show);
  if (window.top !== window) {
    document.documentElement.dataset.framed = "yes";
  }
})();
