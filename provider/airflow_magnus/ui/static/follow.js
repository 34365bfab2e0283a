// Follow a run that goes on: every few seconds the page is fetched again, and what it says of the run is put in place of
// what was said before. Without scripts the page has a link that loads it again.
(function () {
  "use strict";
  // How long to wait is what the page says: longer for a run that takes the server long to read.
  function seconds() {
    var live = document.querySelector("[data-follow]");
    return live ? Math.max(2, Number(live.dataset.follow) || 5) : 0;
  }

  function later() {
    if (seconds()) {
      window.setTimeout(again, seconds() * 1000);
    }
  }

  function openOnes(element) {
    return Array.from(element.querySelectorAll("details[open][id]"), function (one) {
      return one.id;
    });
  }

  function replace(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-live]");
    var shown = document.querySelector("[data-live]");
    if (!fresh || !shown || shown.contains(document.activeElement) && document.activeElement.matches("input, select")) {
      return;
    }
    var focused = document.activeElement ? document.activeElement.id : "";
    var open = openOnes(shown);
    shown.replaceWith(document.adoptNode(fresh));
    open.forEach(function (id) {
      var one = document.getElementById(id);
      if (one) {
        one.open = true;
      }
    });
    if (focused && document.getElementById(focused)) {
      document.getElementById(focused).focus({ preventScroll: true });
    }
  }

  function again() {
    if (document.hidden) {
      later();
      return;
    }
    fetch(window.location.href, { credentials: "same-origin" })
      .then(function (answer) {
        return answer.ok && !answer.redirected ? answer.text() : "";
      })
      .then(function (text) {
        if (text) {
          replace(text);
        }
      })
      .catch(function () {
        // The server is away for a moment: what is shown stays.
      })
      .then(later);
  }

  later();
})();
