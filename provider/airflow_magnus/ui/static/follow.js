// Follow a run that goes on: every few seconds the page is fetched again, and what it says of the run is put in place of
// what was said before. Without scripts the page has a link that loads it again.
(function () {
  "use strict";
  var SECONDS = 5;

  function live() {
    return document.querySelector("[data-follow]");
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
    if (!live()) {
      return;
    }
    if (document.hidden) {
      window.setTimeout(again, SECONDS * 1000);
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
      .then(function () {
        window.setTimeout(again, SECONDS * 1000);
      });
  }

  window.setTimeout(again, SECONDS * 1000);
})();
