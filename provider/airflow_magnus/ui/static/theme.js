// The theme that was chosen in Airflow's own pages, of the same origin; without one the system's is taken.
(function () {
  "use strict";
  var chosen = null;
  try {
    chosen = window.localStorage.getItem("theme");
  } catch (error) {
    // Storage is closed to pages: the system's theme it is.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
